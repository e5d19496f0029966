"""Policy-gradient adaptation: what a step is, whose steps count, and what a latent learns from."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.adapters import (
    AdaptationConfig,
    LatentLaw,
    adapted,
    gradient_adapter,
    held,
    latent_agent,
    latent_loss,
    log_probs,
    meta_policy,
    new_policy,
    outer_rows,
    part,
    policies,
    policy_gradient_adapter,
    policy_gradient_agent,
    standard_latent,
    surrogates,
    unadapted,
    with_advantages,
)
from metablocks.baselines import linear_baseline, linear_features
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.dists import DiagNormal
from metablocks.envs.point_goal import half_circle, navigation
from metablocks.evaluate import trial
from metablocks.losses import likelihood_ratio_loss, lvc_loss, policy_gradient_loss
from metablocks.trees import split_last, take

CFG = RoundsConfig(meta_batch=2, shots=3, inner_steps=2, width=4, inner_lr=0.2, gamma=0.9)
WORLD = navigation(horizon=6)
LOSS = lambda new, old, advantage: jax.vmap(policy_gradient_loss)(new, advantage)


@pytest.fixture(scope="module")
def made():
    """(adapter, theta, rounds [tasks, K + 1, N, T])."""
    adapter = policy_gradient_adapter(CFG, LOSS)
    agent = policy_gradient_agent(CFG, adapter)
    theta = meta_policy(CFG, 2, 2, jr.key(0))
    rounds = jax.jit(lambda theta: new_rounds(agent, WORLD, CFG, theta, jr.key(1)))(theta)
    return adapter, theta, rounds


def test_the_rounds_were_made_by_the_policies_that_the_steps_lead_to(made):
    """Collection and the outer loss walk the same steps: the recorded densities are theirs."""
    adapter, theta, rounds = made
    one = take(rounds, jnp.array(0))
    thetas = adapted(adapter, theta, theta.policy, one)
    told = jax.vmap(lambda policy, rows: log_probs(policies(policy, rows), rows))(thetas, one)
    np.testing.assert_allclose(told, one.extras["log_prob"], rtol=1e-3, atol=1e-4)
    moved = jax.tree.map(lambda leaf: jnp.abs(leaf[2] - leaf[0]).max(), thetas)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_an_outer_loss_is_of_the_last_round_or_of_every_one_after_a_step(made):
    rows = {"k": jnp.arange(3)}
    np.testing.assert_array_equal(outer_rows(rows, CFG)["k"], [2])
    every = dataclasses.replace(CFG, outer_rounds="every")
    np.testing.assert_array_equal(outer_rows(rows, every)["k"], [1, 2])


def test_a_step_is_alpha_times_the_policy_gradient_of_all_steps(made):
    adapter, theta, rounds = made
    rows = take(take(rounds, jnp.array(0)), jnp.array(0))

    def objective(policy):
        total = 0.0
        for n in range(3):
            for t in range(6):
                pi = policy(rows.timestep.obs[n, t])
                total += pi.log_prob(rows.action[n, t]) * rows.extras["advantage"][n, t]
        return total / 18

    slope = jax.grad(objective)(theta.policy)
    one = take(rounds, jnp.array(0))
    first = take(adapted(adapter, theta, theta.policy, one), jnp.array(1))
    want = jax.tree.map(lambda p, g: p + 0.2 * g, theta.policy, slope)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_inner_and_outer_ratios_are_to_the_policy_that_the_data_say_made_them(made):
    _, theta, rounds = made
    rows = take(take(rounds, jnp.array(0)), jnp.array(0))
    told = surrogates(likelihood_ratio_loss, policies(theta.policy, rows), rows)
    np.testing.assert_allclose(told, -rows.extras["advantage"], rtol=1e-3, atol=1e-4)
    rarer = eqx.tree_at(lambda rows: rows.extras["log_prob"], rows, rows.extras["log_prob"] - 0.7)
    adapter = policy_gradient_adapter(CFG, jax.vmap(likelihood_ratio_loss))
    steps = (
        jax.tree.map(
            jnp.subtract, adapter.step(theta, unadapted(theta.policy), data).params, theta.policy
        )
        for data in (rows, rarer)
    )
    for step, longer in zip(*map(jax.tree.leaves, steps), strict=True):
        np.testing.assert_allclose(longer, np.exp(0.7) * step, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(("activation", "share"), [("relu", 2.0), ("tanh", 1.0)])
def test_the_layers_between_are_what_the_config_names(activation, share):
    """Far out, a rectified net without biases doubles with its input, and tanh stays."""
    policy = new_policy(RoundsConfig(width=4, activation=activation), 2, 2, key=jr.key(0))
    far, twice = (policy(jnp.array([1e4, -2e4]) * factor).mean for factor in (1, 2))
    np.testing.assert_allclose(twice, share * far, rtol=1e-3)


def test_only_the_named_part_of_the_policy_adapts():
    head = part(lambda policy: policy.mlp.layers[-1])
    adapter = policy_gradient_adapter(CFG, LOSS, adapts=head)
    agent = policy_gradient_agent(CFG, adapter, adapts=head)
    theta = meta_policy(CFG, 2, 2, jr.key(0), adapts=head)
    rounds = jax.jit(lambda theta: new_rounds(agent, WORLD, CFG, theta, jr.key(1)))(theta)
    one = take(rounds, jnp.array(0))
    whole = policy_gradient_adapter(CFG, LOSS)
    start = unadapted(theta.policy), unadapted(head.of(theta.policy))
    rows = take(one, jnp.array(0))
    every, last = (f.step(theta, phi, rows) for f, phi in zip((whole, adapter), start, strict=True))
    for a, b in zip(*map(jax.tree.leaves, (head.of(every.params), last.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)  # its own step, the rest held
    moved = jnp.abs(last.params.weight - head.of(theta.policy).weight)
    assert moved.max() > 1e-4
    layers = adapted(adapter, theta, head.of(theta.policy), one)
    second = head.into(theta.policy, take(layers, jnp.array(1)))
    told = log_probs(policies(second, take(one, jnp.array(1))), take(one, jnp.array(1)))
    np.testing.assert_allclose(told, one.extras["log_prob"][1], rtol=1e-3, atol=1e-4)


def outer_slope(inner, theta, one):
    """The gradient, in theta's policy, of the last round's surrogate after this inner loss."""
    adapter = policy_gradient_adapter(CFG, inner)

    def outer(policy):
        thetas = adapted(adapter, theta._replace(policy=policy), policy, one)
        last, rows = take((thetas, one), jnp.array(-1))
        return surrogates(likelihood_ratio_loss, policies(last, rows), rows).mean()

    return jax.flatten_util.ravel_pytree(jax.jit(jax.grad(outer))(theta.policy))[0]


def test_promp_s_inner_ratio_is_the_low_variance_curvature_where_the_data_were_made(made):
    """Of both inner steps; the plain log-likelihood's meta-gradient is another."""
    _, theta, rounds = made
    one = take(rounds, jnp.array(0))
    ratio, lvc, plain = (
        outer_slope(inner, theta, one)
        for inner in (
            jax.vmap(likelihood_ratio_loss),
            lambda new, old, advantage: jax.vmap(lvc_loss)(new, advantage),
            LOSS,
        )
    )
    np.testing.assert_allclose(ratio, lvc, rtol=1e-2, atol=1e-4 * jnp.abs(lvc).max())
    assert jnp.linalg.norm(plain - lvc) > 0.02 * jnp.linalg.norm(lvc)


def ended(rounds):
    """A round whose first episode ends early in its first trajectory."""
    rows = take(take(rounds, jnp.array(0)), jnp.array(0))
    return eqx.tree_at(lambda rows: rows.terminated, rows, rows.terminated.at[0, 2].set(True))


def test_advantages_are_returns_less_the_fit_standardised_over_live_steps(made):
    rows = ended(made[2])
    told = with_advantages(rows, CFG)
    live = np.ones((3, 6), bool)
    live[0, 3:] = False
    np.testing.assert_array_equal(told.extras["live"], live)
    reward, returns = np.asarray(rows.reward), np.zeros((3, 6))
    for n in range(3):
        for t in range(6):
            steps = [u for u in range(t, 6) if live[n, u]]
            returns[n, t] = sum(0.9 ** (u - t) * reward[n, u] for u in steps)
    features = jax.vmap(linear_features)(rows.timestep.obs)
    advantage = returns - np.asarray(
        linear_baseline(features, jnp.asarray(returns), jnp.asarray(live))
    )
    want = (advantage - advantage[live].mean()) / advantage[live].std()
    np.testing.assert_allclose(told.extras["advantage"], want * live, rtol=2e-2, atol=2e-3)


def test_what_comes_after_an_early_end_changes_no_advantage(made):
    rows = ended(made[2])
    other = eqx.tree_at(lambda rows: rows.reward, rows, rows.reward.at[0, 3:].set(77.0))
    told, same = (with_advantages(one, CFG).extras["advantage"] for one in (rows, other))
    np.testing.assert_array_equal(told, same)
    np.testing.assert_array_equal(told[0, 3:], 0.0)


def test_round_returns_are_over_tasks_and_episodes_and_live_steps(made):
    rounds = made[2]
    alive = jnp.arange(6) < 4
    rounds = eqx.tree_at(
        lambda rows: (rows.reward, rows.extras["live"]),
        rounds,
        (
            jnp.broadcast_to(jnp.arange(3.0)[:, None, None], rounds.reward.shape),
            jnp.broadcast_to(alive, rounds.reward.shape),
        ),
    )
    np.testing.assert_allclose(round_returns(rounds), [0.0, 4.0, 8.0])


LATENT = gradient_adapter(
    lambda theta, law, rows: latent_loss(law, rows).mean(), lambda theta, step: 0.5
)


def latent(act):
    cfg = AdaptationConfig()
    return latent_agent(
        LATENT, lambda theta: standard_latent(2), act, lambda rows: with_advantages(rows, cfg)
    )


def test_a_latent_is_held_through_an_episode_and_drawn_anew_for_the_next():
    world = half_circle(horizon=5)
    agent = latent(lambda theta, z, now, key: (jnp.tanh(z), {}))
    task = take(world.train(jr.key(0), 1), jnp.array(0))
    phi = agent.prior(None, jr.key(1))
    _, rows = trial(
        agent, world.env, None, phi, task, episodes=2, horizon=5, key=jr.key(2), shots=400
    )
    z = rows.extras["z"]
    np.testing.assert_allclose(z, jnp.broadcast_to(z[:, :, :1], z.shape), rtol=1e-5)
    np.testing.assert_allclose(z[0, :, 0].mean(0), 0.0, atol=0.2)
    np.testing.assert_allclose(z[0, :, 0].std(0), 1.0, atol=0.15)
    assert jnp.abs(z[0, :, 0] - z[1, :, 0]).min() > 0


def test_the_rounds_of_a_latent_were_made_by_the_laws_that_the_steps_lead_to():
    """z' = mu' + sigma' epsilon, on the noise that was held: every outer ratio is 1 at first."""
    world, pi = half_circle(horizon=5), lambda z: DiagNormal(jnp.tanh(z), jnp.full(2, 0.3))

    def act(theta, z, now, key):
        action = pi(z).sample(key)
        return action, {"log_prob": pi(z).log_prob(action)}

    agent, law = latent(act), LatentLaw(jnp.array([0.3, -0.2]), jnp.array([0.1, -0.4]))
    task = take(world.train(jr.key(0), 1), jnp.array(0))
    _, rounds = trial(
        agent, world.env, None, held(law), task, episodes=3, horizon=5, key=jr.key(2), shots=6
    )
    rounds = jax.vmap(lambda rows: with_advantages(rows, AdaptationConfig()))(rounds)
    laws = adapted(LATENT, None, law, rounds)
    assert jnp.abs(laws.mean[2] - laws.mean[1]).min() > 1e-3
    for k in range(3):
        now, rows = take((laws, rounds), jnp.array(k))
        told = jax.vmap(jax.vmap(lambda noise, a: pi(now.at(noise)).log_prob(a)))(  # noqa: B023
            rows.extras["noise"], rows.action
        )
        np.testing.assert_allclose(told, rows.extras["log_prob"], rtol=1e-3, atol=1e-4)


def test_the_latent_s_law_moves_towards_what_paid():
    """Going towards z: the mean after a step has turned to the goal."""
    world = half_circle(horizon=5)
    agent = latent(lambda theta, z, now, key: (jnp.tanh(z), {}))
    task = take(world.train(jr.key(0), 1), jnp.array(0))
    phi, _ = trial(
        agent, world.env, None, agent.prior(None, jr.key(1)), task, episodes=1, horizon=5,
        key=jr.key(2), shots=400,
    )  # fmt: skip
    mean = phi.adapted.params.mean
    assert mean @ task.goal / jnp.linalg.norm(mean) > 0.9


def test_a_latent_s_step_passes_the_start_on_and_tells_its_size(made):
    """mu' = mu + alpha E[(z - mu) / sigma^2 A_0], and A_0 has no mean: d mu' / d mu = I."""
    _, rows = split_last(take(made[2], jnp.array(0)))
    rows.extras["z"] = jnp.broadcast_to(jr.normal(jr.key(3), (3, 1, 2)), (3, 6, 2))
    law = LatentLaw(jnp.array([0.3, -0.2]), jnp.array([0.1, -0.4]))
    adapter = gradient_adapter(
        lambda alpha, law, rows: latent_loss(law, rows).mean(), lambda alpha, step: alpha
    )
    after = lambda alpha, law: adapter.step(alpha, unadapted(law), rows).params.mean
    by_law = jax.jacrev(after, argnums=1)(0.7, law)
    np.testing.assert_allclose(by_law.mean, np.eye(2), atol=1e-5)
    by_size = jax.jacfwd(after)(0.7, law)
    np.testing.assert_allclose(by_size, (after(0.7, law) - law.mean) / 0.7, rtol=1e-4)
    np.testing.assert_allclose(  # the score falls with sigma^2
        by_law.log_scale, -2 * np.diag(0.7 * by_size), rtol=1e-3, atol=1e-5
    )


def test_the_latent_s_loss_is_the_score_of_its_draw(made):
    """d/dmu = -(z - mu) / sigma^2 A_0,  d/dlog sigma = -(((z - mu) / sigma)^2 - 1) A_0."""
    _, rows = split_last(take(made[2], jnp.array(0)))
    rows.extras["z"] = jnp.broadcast_to(jr.normal(jr.key(3), (3, 1, 2)), (3, 6, 2))
    law = LatentLaw(jnp.array([0.3, -0.2]), jnp.array([0.1, -0.4]))
    first = rows.extras["advantage"][:, 0]
    a = ((first - first.mean()) / first.std())[:, None]
    gap = (rows.extras["z"][:, 0] - law.mean) / jnp.exp(law.log_scale)
    told = jax.grad(lambda law: latent_loss(law, rows).mean())(law)
    np.testing.assert_allclose(told.mean, -(gap / jnp.exp(law.log_scale) * a).mean(0), rtol=1e-3)
    np.testing.assert_allclose(told.log_scale, -((gap**2 - 1) * a).mean(0), rtol=1e-3)
    np.testing.assert_allclose(jax.vmap(law.at)(gap), rows.extras["z"][:, 0], rtol=1e-5)

    def by_draw(z):
        moved = eqx.tree_at(lambda rows: rows.extras["z"], rows, z)
        return latent_loss(law, moved).mean()

    np.testing.assert_array_equal(jax.grad(by_draw)(rows.extras["z"]), 0.0)  # z is data
    with pytest.raises(ValueError, match="shots, and eval_shots at meta-test, must be at least 2"):
        latent_loss(law, take(rows, jnp.array([0])))
