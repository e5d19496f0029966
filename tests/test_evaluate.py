"""Trials, adaptation curves and oracles against Python loops."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.envs.gymnax_tasks import pendulum
from metablocks.envs.point_goal import dense_square, sparse_semicircle
from metablocks.evaluate import adaptation_curve, oracle_return, repeats_averaged, trial
from metablocks.rollout import episode_return, rollout
from metablocks.trees import take
from metablocks.types import Agent

EPISODES, HORIZON = 3, 4
BENCHMARK = dense_square(horizon=HORIZON)


def act(theta, phi, timestep, key):
    """Towards phi, with noise; records what it was told of the step before."""
    action = jnp.clip(phi - timestep.obs + 0.1 * jr.normal(key, (2,)), -1, 1)
    return action, {"phi": phi, "prev": timestep.prev_reward}, phi


def adapt(theta, phi, trajectories, key):
    """phi moves by what was seen, and by chance."""
    return phi + trajectories.next_obs.mean(axis=(0, 1)) + 0.1 * jr.normal(key, (2,))


AGENT = Agent(lambda theta, key: jr.normal(key, (2,)), act, adapt)


@pytest.fixture(scope="module")
def tasks():
    return BENCHMARK.test(jr.key(0), 2)


def hand_trial(phi, task, key, shots):
    """phi and the rounds of a trial, in Python."""
    rounds, after = [], None
    for k in jr.split(key, EPISODES):
        k_roll, k_adapt = jr.split(k)
        shots_ = []
        for i, k_shot in enumerate(jr.split(k_roll, shots)):
            before = None if after is None else after[i]
            _, trajectory = rollout(
                AGENT, BENCHMARK.env, None, phi, task, num_steps=HORIZON, key=k_shot, after=before
            )
            shots_.append(trajectory)
        trajectories = jax.tree.map(lambda *x: jnp.stack(x), *shots_)
        after = [(t.action[-1], t.reward[-1]) for t in shots_]
        phi = AGENT.adapt(None, phi, trajectories, k_adapt)
        rounds.append(trajectories)
    return phi, rounds


@pytest.mark.parametrize("shots", [1, 2])
def test_trial_carries_phi_and_the_last_step_across_rounds(tasks, shots):
    task, phi = take(tasks, jnp.array(0)), jnp.array([0.5, -0.5])
    options = {"episodes": EPISODES, "horizon": HORIZON, "shots": shots}
    end, actual = trial(AGENT, BENCHMARK.env, None, phi, task, key=jr.key(1), **options)
    expected_end, rounds = hand_trial(phi, task, jr.key(1), shots)
    assert actual.reward.shape == (EPISODES, shots, HORIZON)
    np.testing.assert_allclose(end, expected_end, rtol=1e-4, atol=1e-5)
    for k, expected in enumerate(rounds):
        np.testing.assert_allclose(actual.action[k], expected.action, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(actual.reward[k], expected.reward, rtol=1e-4, atol=1e-5)
        for name in ("phi", "prev"):
            found, wanted = actual.extras[name][k], expected.extras[name]
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(actual.extras["prev"][1:, :, 0], actual.reward[:-1, :, -1])


def test_adaptation_curve_is_the_return_of_every_round(tasks):
    curve, first = adaptation_curve(
        AGENT, BENCHMARK, None, tasks, episodes=EPISODES, key=jr.key(2), shots=2
    )
    assert curve.shape == (2, EPISODES) and first.reward.shape == (2, EPISODES, HORIZON)
    k_prior, k_trials = jr.split(jr.key(2))
    keys = zip(jr.split(k_prior, 2), jr.split(k_trials, 2), strict=True)
    for i, (k_phi, k_trial) in enumerate(keys):
        phi = AGENT.prior(None, k_phi)
        _, rounds = hand_trial(phi, take(tasks, jnp.array(i)), k_trial, 2)
        for k, trajectories in enumerate(rounds):
            expected = jax.vmap(episode_return)(trajectories).mean()
            np.testing.assert_allclose(curve[i, k], expected, rtol=1e-4)
            np.testing.assert_allclose(first.reward[i, k], trajectories.reward[0], rtol=1e-4)


def test_oracle_of_the_sparse_semicircle():
    """Straight to the goal, axis by axis, against numpy, and the published level."""
    benchmark = sparse_semicircle()
    tasks = benchmark.test(jr.key(0), 20)
    expected = []
    for goal in np.asarray(tasks.goal):
        x, total = np.zeros(2, np.float32), 0.0
        for _ in range(20):
            x = x + np.float32(0.1) * np.clip((goal - x) / np.float32(0.1), -1, 1)
            distance = np.linalg.norm(goal - x)
            total += 1 - distance if distance <= np.float32(0.2) else 0.0
        expected.append(total)
    actual = oracle_return(benchmark, tasks, key=jr.key(0), episodes=1)
    np.testing.assert_allclose(actual, expected, atol=1e-3)
    np.testing.assert_allclose(actual.mean(), 13.4, atol=0.05)


def test_oracle_of_the_dense_square():
    benchmark = dense_square()
    tasks = benchmark.test(jr.key(0), 20)
    actual = oracle_return(benchmark, tasks, key=jr.key(0), episodes=64)
    np.testing.assert_allclose(actual.mean(), -4.6, atol=0.2)


def test_no_oracle_where_none_is_known():
    benchmark = pendulum(horizon=2)
    assert oracle_return(benchmark, benchmark.test(jr.key(0), 1), key=jr.key(0)) is None


def test_repeats_of_a_task_are_one_task():
    descriptors = jnp.array([[0.0], [1.0], [0.0], [2.0]])
    returns = jnp.array([[1.0], [5.0], [3.0], [8.0]])
    per_task, distinct = repeats_averaged(descriptors, returns)
    np.testing.assert_allclose(per_task[:, 0], [2.0, 5.0, 2.0, 8.0])
    assert float(distinct) == pytest.approx(3.0)
