"""Surrogates of a policy's return, for one step or one trajectory: what is to be minimised.

They agree in their first derivative where the data were made, and differ in the second, which is
what a meta-gradient through a policy-gradient step is made of:

| inner loss | second derivative at the policy that made the data |
|---|---|
| `policy_gradient_loss` | -A grad^2 log pi: that the step's data would change is left out |
| `lvc_loss` | -A (grad^2 log pi + grad log pi grad log pi^T): each action's own credit |
| `dice_loss` | the unbiased one: every action's credit for all that comes after it |
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient as sg
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def importance_ratio(
    log_prob: Float[Array, "*axes"], behaviour_log_prob: Float[Array, "*axes"]
) -> Float[Array, "*axes"]:
    """sg[pi(a|s) / mu(a|s)]: the weight of what mu did, in a mean that is to be pi's."""
    return sg(jnp.exp(log_prob - behaviour_log_prob))


def likelihood_ratio_loss(
    log_prob: Scalar, behaviour_log_prob: Scalar, advantage: Scalar
) -> Scalar:
    """The surrogate of conservative policy iteration and TRPO.

        -rho A,    rho = pi(a|s) / mu(a|s)

    Schulman et al. 2015, equation (14), https://arxiv.org/abs/1502.05477.
    """
    return -jnp.exp(log_prob - sg(behaviour_log_prob)) * sg(advantage)


def lvc_loss(log_prob: Scalar, advantage: Scalar) -> Scalar:
    """The low-variance curvature surrogate: the likelihood ratio to the policy itself.

        -pi(a|s) / sg[pi(a|s)] A

    Rothfuss et al. 2019, section 5, https://arxiv.org/abs/1810.06784.
    """
    return likelihood_ratio_loss(log_prob, log_prob, advantage)


def magic_box(log_prob: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """1, whose derivatives are those of the likelihood: exp(x - sg[x]).

    Foerster et al. 2018, https://arxiv.org/abs/1802.05098.
    """
    return jnp.exp(log_prob - sg(log_prob))


def dice_loss(
    log_prob: Float[Array, " T"], advantage: Float[Array, " T"], *, decay: float = 1.0
) -> Float[Array, " T"]:
    """Loaded DiCE: a surrogate whose derivatives of every order are unbiased, with a baseline.

        -A_t (box[w_t] - box[w_t - log pi_t]),    w_t = decay w_{t-1} + log pi_t,
        box[x] = exp(x - sg[x])

    With rewards to go for A and decay 1 this is DiCE, -sum_t r_t box[sum_{i <= t} log pi_i], up to
    a constant; a baseline in A changes no expected derivative. A decay below 1 lets later credit
    count less in the second derivative: less variance, more bias. At 0 it is `lvc_loss` + A.
    The value is 0: only derivatives mean something. Exact for the undiscounted return, with an A
    that was not fitted to the same data.

    Foerster et al. 2018, https://arxiv.org/abs/1802.05098; Farquhar et al. 2019, algorithm 1,
    https://arxiv.org/abs/1909.10549.
    """

    def forwards(w, log_prob):
        before = decay * w
        w = before + log_prob
        return w, (w, before)

    _, (after, before) = jax.lax.scan(forwards, jnp.zeros(()), log_prob)
    return -sg(advantage) * (magic_box(after) - magic_box(before))


def sampling_credit_loss(log_prob: Scalar, post_return: Scalar) -> Scalar:
    """E-MAML's second term: what a pre-update action is credited for the return *after* adaptation.

        -sg[R'] log pi_theta(a|s),    (s, a) of the data that the adaptation was made of

    Stadie et al. 2018, https://arxiv.org/abs/1803.01118.
    """
    return -log_prob * sg(post_return)
