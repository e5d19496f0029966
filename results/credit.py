"""Who credits the pre-update actions: python results/credit.py > results/credit.md

On small MDPs every trajectory can be enumerated, so each estimator's expected meta-gradient and the
derivative of the objective that it stands for are sums: no sampling error.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.lax import stop_gradient as sg

from metablocks.envs.tabular import random_mdp
from metablocks.losses import dice_loss, lvc_loss, policy_gradient_loss
from metablocks.oracles.enumeration import Enumerated
from metablocks.trees import take

STATES, ACTIONS, HORIZON, MDPS, ALPHA = 3, 2, 4, 50, 0.5
INNER = {
    "MAML": jax.vmap(policy_gradient_loss),
    "ProMP, LVC": jax.vmap(lvc_loss),
    "loaded DiCE, decay 0.5": lambda *row: dice_loss(*row, decay=0.5),
    "DiCE": dice_loss,
}
HEAD = f"""# Sampling credit: which estimator pays the pre-update actions, and how much

`python results/credit.py`: {MDPS} random MDPs of {STATES} states, {ACTIONS} actions and {HORIZON}
steps, one inner step of {ALPHA}, a fitted state value as baseline, everything enumerated. The
meta-gradient has two parts: how theta' depends on theta with the data D held still, and how theta
decides which D there is. The second is the sampling credit. *Credit* is an estimator's, projected
on the exact one: 0 none, 1 all, below 0 the wrong way; *cosine* is that of the two credits.
Medians, and in brackets the 10th and 90th percentile.

| estimator | credit, many trajectories | cosine | credit, one trajectory | cosine |
|---|---|---|---|---|"""
TAIL = """
Many trajectories: the inner gradient is its expectation, the objective R(theta + alpha grad R).
One: every single trajectory makes a theta' of its own, the objective E_D R(theta'(D)). DiCE is
exact for the first only: its credit is inside the inner gradient, so that it knows nothing of what
R does with an unlucky D. E-MAML's is exact for both by construction, with the weight that the
objective has (the sum of the scores times R'); `emaml.py` standardises R' and takes the mean over
steps, so that its `credit_coef` is a weight that has to be found."""


def estimates(key):
    """[the estimators, E-MAML last][many or one trajectory] -> (credit, cosine)."""
    k_task, k_policy = jr.split(key)
    world = random_mdp(num_states=STATES, num_actions=ACTIONS, horizon=HORIZON)
    mdp = Enumerated(take(world.train(k_task, 1), jnp.array(0)), horizon=HORIZON)
    here = 0.5 * jr.normal(k_policy, (STATES, ACTIONS))
    weight = mdp.probabilities(here)
    visits = weight[:, None, None] * jax.nn.one_hot(mdp.states, STATES)
    value = jnp.einsum("nts,nt->s", visits, mdp.to_go()) / visits.sum((0, 1))
    advantage = mdp.to_go() - value[mdp.states]

    def each(loss, logits):
        """Every trajectory's inner loss, [n]."""
        return jax.vmap(loss)(mdp.log_probs(logits), advantage).sum(axis=1)

    def many(loss):
        inner = lambda x: sg(mdp.probabilities(x)) @ each(loss, x)
        return jax.grad(lambda x: mdp.value(x - ALPHA * jax.grad(inner)(x)))(here)

    def after(loss, logits):
        """R(theta'(tau)) of every trajectory tau, [n]."""
        slopes = jax.jacrev(lambda x: each(loss, x))(logits)
        return jax.vmap(lambda slope: mdp.value(logits - ALPHA * slope))(slopes)

    def one(loss):
        return jax.grad(lambda x: weight @ after(loss, x))(here)

    plain, scores = INNER["MAML"], jax.jacrev(lambda x: mdp.log_probs(x).sum(axis=1))(here)
    slopes = jax.jacrev(lambda x: each(plain, x))(here)
    there = here - ALPHA * jnp.einsum("n,nsa->sa", weight, slopes)
    towards = -ALPHA * jnp.einsum("nsa,sa->n", slopes, jax.grad(mdp.value)(there))
    exact = (
        jax.grad(lambda x: mdp.value(x + ALPHA * jax.grad(mdp.value)(x)))(here),
        jax.grad(lambda x: mdp.probabilities(x) @ after(plain, x))(here),
    )
    paid = (  # E-MAML: MAML's, and what D's scores earn
        many(plain) + jnp.einsum("n,n,nsa->sa", weight, towards, scores),
        one(plain) + jnp.einsum("n,n,nsa->sa", weight, after(plain, here), scores),
    )
    held = many(plain), one(plain)

    def told(gradient, exact, held):
        credit = jnp.vdot(gradient - held, exact - held) / jnp.vdot(exact - held, exact - held)
        norms = jnp.linalg.norm(gradient - held) * jnp.linalg.norm(exact - held)
        cosine = jnp.vdot(gradient - held, exact - held) / norms
        return jnp.stack([credit, cosine, jnp.linalg.norm(exact - held) / jnp.linalg.norm(exact)])

    rows = [(many(loss), one(loss)) for loss in INNER.values()] + [paid]
    return jnp.stack([jnp.stack(list(map(told, row, exact, held))) for row in rows])


def main() -> None:
    found = np.stack([jax.jit(estimates)(key) for key in jr.split(jr.key(0), MDPS)])
    low, mid, high = np.percentile(found, (10, 50, 90), axis=0)
    print(HEAD)
    for row, name in enumerate([*INNER, "E-MAML, weight 1"]):
        cells = [
            f"{mid[row, of, what]:.2f} ({low[row, of, what]:.2f}, {high[row, of, what]:.2f})"
            if row
            else ("0", "-")[what]
            for of in (0, 1)
            for what in (0, 1)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\nThe exact credit's length over the exact gradient's: {mid[0, 0, 2]:.2f} and "
          f"{mid[0, 1, 2]:.2f}.")  # fmt: skip
    print(TAIL)


if __name__ == "__main__":
    main()
