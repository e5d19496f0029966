"""Surrogates against the derivatives of exactly enumerated returns: what each one leaves out."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.lax import stop_gradient as sg

from metablocks.adapters import gradient_adapter, unadapted
from metablocks.envs.tabular import random_mdp
from metablocks.losses import (
    adaptive_coef,
    dice_loss,
    importance_ratio,
    likelihood_ratio_loss,
    lvc_loss,
    policy_gradient_loss,
    sampling_credit_loss,
)
from metablocks.oracles.enumeration import Enumerated
from metablocks.rollout import rollout
from metablocks.trees import take
from metablocks.types import Agent

WORLD = random_mdp(num_states=2, num_actions=2, horizon=3)
TASK = take(WORLD.train(jr.key(0), 1), jnp.array(0))
MDP = Enumerated(TASK, horizon=3)
LOGITS = jnp.array([[0.3, -0.5], [-0.2, 0.4]])
BASELINE = jnp.array([0.7, -0.4])
ALPHA = 0.5


def expected(loss, logits, baseline=BASELINE):
    """The expectation of a trajectory's loss [T] over data of sg(pi): what sampling estimates."""
    advantage = MDP.to_go() - baseline[MDP.states]
    losses = jax.vmap(loss)(MDP.log_probs(logits), advantage)
    return sg(MDP.probabilities(logits)) @ losses.sum(axis=1)


LOSSES = {
    "likelihood": jax.vmap(policy_gradient_loss),
    "lvc": jax.vmap(lvc_loss),
    "dice": dice_loss,
    "half dice": lambda log_prob, advantage: dice_loss(log_prob, advantage, decay=0.5),
}


def near(x, y):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)


def test_the_enumeration_is_a_distribution_and_its_value_the_dynamic_program_s():
    near(MDP.probabilities(LOGITS).sum(), 1.0)
    pi, value = jax.nn.softmax(LOGITS), jnp.zeros(2)
    for _ in range(3):
        value = (pi * (TASK.reward + TASK.transition @ value)).sum(axis=1)
    near(MDP.value(LOGITS), value[0])


@pytest.mark.parametrize("name", LOSSES)
def test_every_surrogate_s_gradient_is_the_policy_gradient(name):
    slope = jax.grad(lambda logits: expected(LOSSES[name], logits))(LOGITS)
    near(slope, -jax.grad(MDP.value)(LOGITS))


def test_dice_has_every_derivative_of_the_return():
    second = jax.hessian(lambda logits: expected(dice_loss, logits))
    near(second(LOGITS), -jax.hessian(MDP.value)(LOGITS))
    near(jax.jacfwd(second)(LOGITS), -jax.jacfwd(jax.hessian(MDP.value))(LOGITS))


def test_a_baseline_in_dice_changes_no_expected_derivative():
    for baseline in (jnp.zeros(2), 3.0 * BASELINE):
        second = jax.hessian(lambda logits: expected(dice_loss, logits, baseline))  # noqa: B023
        near(second(LOGITS), -jax.hessian(MDP.value)(LOGITS))


def test_the_low_variance_curvature_is_the_hessian_at_fixed_visits_and_values():
    """Of sum_t E_{s ~ d_t} sum_a pi(a | s) Q_t(s, a), d and Q by dynamic programs for mu."""
    mu, seen, value = jax.nn.softmax(LOGITS), [jnp.array([1.0, 0.0])], jnp.zeros(2)
    for _ in range(2):
        seen.append(jnp.einsum("s,sa,sax->x", seen[-1], mu, TASK.transition))
    worth = jnp.zeros((2, 2))
    for visits in reversed(seen):
        q = TASK.reward + TASK.transition @ value
        value, worth = (mu * q).sum(axis=1), worth + visits[:, None] * q

    def held(logits):
        return -(jax.nn.softmax(logits) * worth).sum()

    second = jax.hessian(lambda logits: expected(LOSSES["lvc"], logits))(LOGITS)
    near(second, jax.hessian(held)(LOGITS))
    assert jnp.abs(second + jax.hessian(MDP.value)(LOGITS)).max() > 0.02  # DiCE's is another


def test_plain_log_likelihoods_leave_out_that_the_data_would_change():
    """Their Hessian lacks E[A grad log pi grad log pi^T], which is the lvc's own credit."""
    plain, lvc = (
        jax.hessian(lambda logits: expected(LOSSES[name], logits))(LOGITS)  # noqa: B023
        for name in ("likelihood", "lvc")
    )
    scores = jax.jacfwd(MDP.log_probs)(LOGITS)
    weight = MDP.probabilities(LOGITS)[:, None] * (MDP.to_go() - BASELINE[MDP.states])
    near(plain - lvc, jnp.einsum("nt,ntsa,ntij->saij", weight, scores, scores))


def test_loaded_dice_without_memory_is_the_low_variance_curvature():
    def slopes(loss):
        return jax.jacfwd(jax.hessian(lambda x: loss(x, jnp.array([1.0, -2.0, 3.0])).sum()))

    x = jnp.array([-0.1, -0.5, -2.0])
    near(slopes(lambda x, a: dice_loss(x, a, decay=0.0))(x), slopes(LOSSES["lvc"])(x))


def test_dice_is_rewards_times_the_magic_box_of_what_came_before():
    rewards = jnp.array([1.0, -2.0, 3.0])
    to_go = jnp.cumsum(rewards[::-1])[::-1]

    def plain(x):
        total = jnp.cumsum(x)
        return -(rewards * jnp.exp(total - sg(total))).sum()

    x = jnp.array([-0.1, -0.5, -2.0])
    near(jax.hessian(lambda x: dice_loss(x, to_go).sum())(x), jax.hessian(plain)(x))


def updated(loss, logits):
    """theta' from the expected inner gradient: the limit of many shots."""
    return logits - ALPHA * jax.grad(lambda at: expected(loss, at))(logits)


def test_a_meta_gradient_through_dice_is_that_of_the_exact_two_step_objective():
    exact = jax.grad(lambda x: MDP.value(x + ALPHA * jax.grad(MDP.value)(x)))(LOGITS)
    estimated = {
        name: jax.grad(lambda x: MDP.value(updated(LOSSES[name], x)))(LOGITS)  # noqa: B023
        for name in LOSSES
    }
    near(estimated["dice"], exact)
    for name in ("likelihood", "lvc"):
        assert jnp.abs(estimated[name] - exact).max() > 1e-2, name


def adapted_value(logits):
    """R(theta'(theta, tau)) of every single trajectory tau to adapt by, [n]."""

    def one(index):
        def loss(at):
            log_prob = MDP.log_probs(at)[index]
            return jax.vmap(policy_gradient_loss)(log_prob, MDP.to_go()[index]).sum()

        return MDP.value(logits - ALPHA * jax.grad(loss)(logits))

    return jax.vmap(one)(jnp.arange(len(MDP.luck)))


def test_maml_holds_the_sampling_still_and_e_maml_s_credit_is_the_rest():
    exact = jax.grad(lambda x: MDP.probabilities(x) @ adapted_value(x))(LOGITS)
    maml = jax.grad(lambda x: sg(MDP.probabilities(x)) @ adapted_value(x))(LOGITS)
    worth, weight = adapted_value(LOGITS), MDP.probabilities(LOGITS)

    def credit(logits):
        per_step = jax.vmap(jax.vmap(sampling_credit_loss, (0, None)))
        return weight @ per_step(MDP.log_probs(logits), worth).sum(axis=1)

    near(maml - jax.grad(credit)(LOGITS), exact)
    assert jnp.abs(maml - exact).max() > 1e-2


@pytest.fixture(scope="module")
def rolled():
    """States and actions [n, T] of trajectories in the world itself, by the policy of LOGITS."""

    def act(theta, phi, timestep, key):
        return jr.categorical(key, theta[jnp.argmax(timestep.obs)]), {}, phi

    agent = Agent(lambda theta, key: None, act, lambda theta, phi, rows, key: phi)
    one = lambda key: rollout(agent, WORLD.env, LOGITS, None, TASK, num_steps=3, key=key)[1]
    rows = jax.jit(jax.vmap(one))(jr.split(jr.key(1), 20_000))
    return jnp.argmax(rows.timestep.obs, axis=-1), rows.action


@pytest.mark.parametrize("name", ["likelihood", "lvc", "dice"])
def test_sampled_meta_gradients_through_the_adapter_come_to_their_expectation(name, rolled):
    """Drawn by the world and walked by `gradient_adapter`: each estimate is within its error."""

    def inner(theta, logits, data):
        states, actions, to_go = data
        log_prob = jax.nn.log_softmax(logits)[states, actions]
        return LOSSES[name](log_prob, to_go - BASELINE[states]).sum()

    adapter = gradient_adapter(inner, lambda theta, step: ALPHA)

    def after(logits, data):
        return MDP.value(adapter.step(None, unadapted(logits), data).params)

    slopes = jax.jit(jax.vmap(jax.grad(after), (None, 0)))
    rewards = TASK.reward[rolled[0], rolled[1]]
    drawn = slopes(LOGITS, (*rolled, jnp.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]))
    each = slopes(LOGITS, (MDP.states, MDP.actions, MDP.to_go()))
    exact = jnp.einsum("n,nsa->sa", MDP.probabilities(LOGITS), each)
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (jnp.abs(drawn.mean(axis=0) - exact) < 4 * error).all()
    assert error.max() < 0.05 * jnp.abs(exact).max()


def test_the_likelihood_ratio_s_gradient_is_the_score_s_where_the_data_were_made():
    loss = lambda x: likelihood_ratio_loss(x, jnp.array(-1.2), jnp.array(2.0))
    near(jax.value_and_grad(loss)(jnp.array(-1.2)), (-2.0, -2.0))
    near(loss(jnp.array(-0.7)), -2.0 * np.exp(0.5))


def test_what_the_data_were_made_by_and_what_they_earned_are_not_differentiated():
    x, mu, a = jnp.array(-0.7), jnp.array(-1.2), jnp.array(2.0)
    for loss in (likelihood_ratio_loss, lambda x, mu, a: lvc_loss(x, a),
                 lambda x, mu, a: policy_gradient_loss(x, a),
                 lambda x, mu, a: sampling_credit_loss(x, a),
                 lambda x, mu, a: dice_loss(x[None], a[None])[0]):  # fmt: skip
        slopes = jax.grad(loss, argnums=(0, 1, 2))(x, mu, a)
        assert slopes[0] != 0 and slopes[1:] == (0, 0)
    assert jax.grad(importance_ratio, argnums=(0, 1))(x, mu) == (0, 0)
    near(importance_ratio(x, mu), np.exp(0.5))


@pytest.mark.parametrize(("divergence", "factor"), [(0.005, 0.5), (0.01, 1.0), (0.016, 2.0)])
def test_the_penalty_follows_its_target(divergence, factor):
    assert adaptive_coef(jnp.array(3.0), jnp.array(divergence), target=0.01) == 3.0 * factor
    assert adaptive_coef(jnp.array(1e-6), jnp.array(0.0), target=0.01) == np.float32(1e-6)
