"""PPO over trials: what one step is, what is credited, and what a minibatch holds."""

import dataclasses

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from metablocks.dists import Categorical
from metablocks.losses import discounted_returns, policy_gradient_loss, standardised
from metablocks.ppo import PPOConfig, ppo
from metablocks.types import TimeStep, Transition

NUM, STEPS, ARMS = 6, 3, 2
PLAIN = PPOConfig(
    epochs=1, minibatches=1, lr=0.1, lr_end=1.0, max_grad_norm=1e9, gamma=0.5, lam=1.0,
    value_coef=0.0, entropy_coef=0.0,
)  # fmt: skip


def heads(theta, trial):
    """pi_t of its own logits at every step t, V of one number."""
    return jax.vmap(Categorical)(theta["logits"]), jnp.full(STEPS, theta["value"])


def theta_of(key):
    return {"logits": jr.normal(key, (STEPS, ARMS)), "value": jnp.array(0.0)}


def trials(theta, key):
    actions = jr.categorical(key, theta["logits"], shape=(NUM, STEPS))
    zeros, no = jnp.zeros((NUM, STEPS)), jnp.zeros((NUM, STEPS), bool)
    log_prob = jnp.take_along_axis(
        jax.nn.log_softmax(theta["logits"])[None], actions[..., None], axis=-1
    )[..., 0]
    obs = zeros[..., None]

    def row(obs, action, zero, no, log_prob):
        now = TimeStep(obs, action, zero, no)
        extras = {"log_prob": log_prob, "value": zero, "live": ~no}
        return Transition(now, action, zero, obs, no, no, extras)

    return jax.vmap(jax.vmap(row))(obs, actions, zeros, no, log_prob)


def improved(cfg, theta, made, reward, key=jr.key(9)):  # noqa: B008
    block = ppo(cfg, heads, num_updates=5)
    return block.improve(theta, block.init(theta), made, reward, key)


def gradient(state):
    """The first gradient, as Adam's first moment tells it."""
    return jax.tree.map(lambda moment: moment / 0.1, state.opt_state[1][0].mu)


def test_one_step_is_a2c_on_the_return_of_the_trial():
    theta = theta_of(jr.key(0))
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    got, state, _ = improved(PLAIN, theta, made, reward)

    discount = jnp.full(STEPS, 0.5)
    returns = jax.vmap(lambda r: discounted_returns(r, discount, bootstrap=jnp.zeros(())))(reward)

    def a2c(theta):
        log_probs = jax.nn.log_softmax(theta["logits"])[jnp.arange(STEPS), made.action]
        return jax.vmap(jax.vmap(policy_gradient_loss))(log_probs, standardised(returns)).mean()

    slope = jax.grad(a2c)(theta)
    chex.assert_trees_all_close(gradient(state), slope, rtol=1e-4, atol=1e-6)
    optimiser = optax.adam(0.1)
    updates, _ = optimiser.update(slope, optimiser.init(theta))
    chex.assert_trees_all_close(got, optax.apply_updates(theta, updates), rtol=1e-4)
    assert state.updates == 1


def test_the_value_learns_the_trials_return_and_the_entropy_grows():
    theta = {"logits": jnp.array([[3.0, 0.0]] * STEPS), "value": jnp.array(0.0)}
    made, reward = trials(theta, jr.key(1)), jnp.zeros((NUM, STEPS)).at[:, -1].set(4.0)
    cfg = PPOConfig(
        epochs=200, minibatches=1, lr=0.05, lr_end=1.0, gamma=1.0, lam=1.0, value_coef=1.0,
        entropy_coef=10.0, max_grad_norm=1e9,
    )  # fmt: skip
    got, _, losses = improved(cfg, theta, made, reward)
    assert float(got["value"]) == pytest.approx(4.0, abs=0.05)  # of every step: gamma is 1
    np.testing.assert_allclose(got["logits"][:, 0], got["logits"][:, 1], atol=0.05)
    assert set(losses) == {"policy", "value", "entropy"}


def test_clipping_stops_what_is_far_from_the_policy_that_made_the_trials():
    """After many epochs on the same trials an unclipped policy runs away; a clipped one stays."""
    theta = {"logits": jnp.zeros((STEPS, ARMS)), "value": jnp.array(0.0)}
    made = trials(theta, jr.key(1))
    reward = made.action.astype(jnp.float32)
    far = {}
    for epsilon in (0.1, 1e6):
        cfg = PPOConfig(
            epochs=300, minibatches=1, lr=0.02, lr_end=1.0, gamma=0.0, lam=0.0, value_coef=0.0,
            entropy_coef=0.0, epsilon=epsilon,
        )  # fmt: skip
        logits = improved(cfg, theta, made, reward)[0]["logits"]
        far[epsilon] = float(jax.nn.softmax(logits)[:, 1].max())
    assert far[0.1] < 0.7 and far[1e6] > 0.95


def test_steps_of_no_episode_are_as_if_they_were_not_there():
    theta = theta_of(jr.key(0))
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    live = jnp.ones((NUM, STEPS), bool).at[:, 1].set(False)
    extras = {"live": live, "value": jr.normal(jr.key(3), (NUM, STEPS))}
    made = eqx.tree_at(lambda rows: rows.extras, made, made.extras | extras)
    cfg = dataclasses.replace(PLAIN, entropy_coef=0.3, value_coef=0.5, lam=0.7)
    got, state, _ = improved(cfg, theta, made, reward)
    same, _, _ = improved(cfg, theta, made, reward.at[:, 1].add(7.0))
    chex.assert_trees_all_equal(got, same)
    np.testing.assert_array_equal(got["logits"][1], theta["logits"][1])
    # the two live steps follow one another: A_0 = delta_0 + gamma lambda delta_2
    value = made.extras["value"]
    last = reward[:, 2] - value[:, 2]
    first = reward[:, 0] + 0.5 * value[:, 2] - value[:, 0] + 0.5 * 0.7 * last
    targets = jnp.stack([first + value[:, 0], last + value[:, 2]])
    slope = (
        -0.5 * targets.sum() / (NUM * 2)
    )  # the mean over live steps of c_V 1/2 (V - G)^2 at V = 0
    np.testing.assert_allclose(gradient(state)["value"], slope, rtol=1e-4)


def test_advantages_are_standardised_and_averaged_over_live_steps():
    theta = theta_of(jr.key(0))
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    live = jr.bernoulli(jr.key(3), 0.6, (NUM, STEPS))
    made = eqx.tree_at(lambda rows: rows.extras["live"], made, live)
    cfg = dataclasses.replace(PLAIN, gamma=0.0)  # A_t = r_t
    _, state, losses = improved(cfg, theta, made, reward)
    advantage = (reward - reward[live].mean()) / reward[live].std()

    def loss(theta):
        log_probs = jax.nn.log_softmax(theta["logits"])[jnp.arange(STEPS), made.action]
        return -(log_probs * advantage)[live].mean()

    chex.assert_trees_all_close(gradient(state), jax.grad(loss)(theta), rtol=1e-3, atol=1e-6)
    assert float(losses["policy"]) == pytest.approx(0.0, abs=1e-5)  # -A, whose live mean is 0
    # a minibatch with few live steps weighs as much as those: the mean is over the update's
    cfg = dataclasses.replace(cfg, value_coef=0.5, minibatches=NUM, lr=1e-9)
    assert len(set(live.sum(axis=1).tolist())) > 1
    error = float(0.25 * (reward**2)[live].mean())
    assert float(improved(cfg, theta, made, reward)[2]["value"]) == pytest.approx(error, rel=1e-4)


def test_the_numbers_of_a_config_do_what_they_say():
    theta = theta_of(jr.key(0)) | {"value": jnp.array(1.0)}
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    plain = dataclasses.replace(PLAIN, value_coef=0.5, entropy_coef=0.3)

    def with_(**options):
        return dataclasses.replace(plain, **options)

    scaled = gradient(improved(with_(reward_scale=3.0), theta, made, reward)[1])
    given = gradient(improved(plain, theta, made, 3.0 * reward)[1])
    chex.assert_trees_all_close(scaled, given, rtol=1e-5)
    _, state, losses = improved(with_(max_grad_norm=1e-3), theta, made, reward)
    assert float(optax.tree.norm(gradient(state))) == pytest.approx(1e-3, rel=1e-3)
    # far from where the trials were made (V = 0), the clipped value counts: it is the worse one
    returns = jax.vmap(
        lambda r: discounted_returns(r, jnp.full(STEPS, 0.5), bootstrap=jnp.zeros(()))
    )(reward)
    worse = jnp.maximum((1.0 - returns) ** 2, (plain.epsilon - returns) ** 2)
    clipped = improved(with_(clip_value=True), theta, made, reward)[2]
    assert float(clipped["value"]) == pytest.approx(float(0.25 * worse.mean()), rel=1e-4)
    assert float(losses["value"]) == pytest.approx(float(0.25 * ((1.0 - returns) ** 2).mean()))


def test_the_step_size_and_the_entropy_s_weight_fall_over_the_updates():
    theta = theta_of(jr.key(0))
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    cfg = dataclasses.replace(PLAIN, entropy_coef=0.3, entropy_end=0.5, lr_end=0.0)
    block = ppo(cfg, heads, num_updates=1)
    first, state, before = block.improve(theta, block.init(theta), made, reward, jr.key(9))
    second, _, after = block.improve(first, state, made, reward, jr.key(9))
    chex.assert_trees_all_equal(second, first)  # nothing is left of the step size
    entropies = [
        -w * jax.vmap(lambda logits: Categorical(logits).entropy())(t["logits"]).mean()
        for w, t in ((0.3, theta), (0.15, first))
    ]
    np.testing.assert_allclose([before["entropy"], after["entropy"]], entropies, rtol=1e-5)


def test_an_episode_s_end_cuts_no_return():
    theta = theta_of(jr.key(0))
    made, reward = trials(theta, jr.key(1)), jr.normal(jr.key(2), (NUM, STEPS))
    got, _, _ = improved(PLAIN, theta, made, reward)
    ends = jnp.zeros((NUM, STEPS), bool).at[:, 1].set(True)
    for name in ("terminated", "truncated"):
        ended = eqx.tree_at(lambda rows: getattr(rows, name), made, ends)  # noqa: B023
        chex.assert_trees_all_equal(got, improved(PLAIN, theta, ended, reward)[0])


def test_minibatches_are_of_whole_trials():
    seen = []

    def spying(theta, trial):
        seen.append(trial.reward.shape)
        return heads(theta, trial)

    theta = theta_of(jr.key(0))
    made = trials(theta, jr.key(1))
    cfg = PPOConfig(epochs=2, minibatches=3)
    block = ppo(cfg, spying, num_updates=1)
    _, state, _ = block.improve(theta, block.init(theta), made, made.reward, jr.key(2))
    assert set(seen) == {(STEPS,)}
    assert state.opt_state[1][0].count == 6
    with pytest.raises(
        ValueError, match=r"rewards \(6,\) must be one for each of the trials' steps \(6, 3\)"
    ):
        improved(cfg, theta, made, made.reward.sum(axis=1))
    with pytest.raises(ValueError, match="4 equal minibatches"):
        improved(PPOConfig(minibatches=4), theta, made, made.reward)
