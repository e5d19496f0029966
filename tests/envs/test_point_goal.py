"""The point robot's published goals, dynamics and rewards in closed form."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.envs.point_goal import (
    PointGoal,
    PointState,
    dense_square,
    navigation,
    sparse_semicircle,
)
from metablocks.rollout import rollout
from metablocks.trees import take
from metablocks.types import Agent

SPARSE, DENSE, NAVIGATION = sparse_semicircle(), dense_square(), navigation()


def arrive(benchmark, position, action, goal):
    """One step: (x', reward, terminated, dense reward)."""
    task = benchmark.env.default_params.replace(goal=jnp.array(goal))
    state = PointState(position=jnp.array(position), time=jnp.int32(0))
    obs, _, reward, terminated, _, info = benchmark.env.step(
        jr.key(0), state, jnp.array(action), task
    )
    return np.asarray(obs), float(reward), bool(terminated), float(info["dense_reward"])


def goals(sampler, num):
    return {tuple(goal) for goal in np.asarray(sampler(jr.key(0), num).goal).tolist()}


def test_sparse_goals_are_pearls():
    published = np.linspace(0, np.pi, 100)
    published = np.stack([np.cos(published), np.sin(published)], axis=1)
    np.random.RandomState(1337).shuffle(published)
    published = published.astype(np.float32)
    assert goals(SPARSE.train, 80) == {tuple(goal) for goal in published[:80].tolist()}
    assert goals(SPARSE.test, 20) == {tuple(goal) for goal in published[80:].tolist()}


def test_dense_goals_are_pearls():
    published = np.random.RandomState(1337).uniform(-1, 1, (100, 2)).astype(np.float32)
    assert goals(DENSE.train, 80) == {tuple(goal) for goal in published[:80].tolist()}
    assert goals(DENSE.test, 20) == {tuple(goal) for goal in published[80:].tolist()}


@pytest.mark.parametrize("benchmark", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_no_test_goal_is_trained_on(benchmark):
    train, test = goals(benchmark.train, 80), goals(benchmark.test, 20)
    assert len(train) == 80 and len(test) == 20 and not train & test
    assert goals(benchmark.train, 300) == train


def test_tasks_beyond_the_set_repeat_it_evenly():
    drawn = np.asarray(SPARSE.test(jr.key(3), 40).goal)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert (counts == 2).all()
    assert (drawn[:20] != np.asarray(SPARSE.test(jr.key(4), 20).goal)).any()


def test_steps_are_clipped_and_rewarded_on_arrival():
    obs, reward, _, _ = arrive(DENSE, [0.5, 0.0], [3.0, -0.5], [0.6, 0.0])
    np.testing.assert_allclose(obs, [0.6, -0.05], atol=1e-6)
    np.testing.assert_allclose(reward, -0.05, atol=1e-6)


def test_sparse_reward_is_one_minus_distance_inside_the_radius():
    for distance, reward in ((0.0, 1.0), (0.15, 0.85), (0.199, 0.801), (0.201, 0.0), (1.0, 0.0)):
        _, found, terminated, dense = arrive(SPARSE, [0.0, 1.0 - distance], [0.0, 0.0], [0.0, 1.0])
        np.testing.assert_allclose((found, dense), (reward, -distance), atol=1e-6)
        assert not terminated


def test_starts():
    task = take(DENSE.train(jr.key(0), 1), jnp.array(0))
    keys = jr.split(jr.key(1), 500)
    dense = np.asarray(jax.vmap(DENSE.env.reset, (0, None))(keys, task)[0])
    assert np.abs(dense).max() <= 1
    np.testing.assert_allclose(dense.std(axis=0), 3**-0.5, atol=0.05)
    for benchmark in (SPARSE, NAVIGATION):
        np.testing.assert_array_equal(benchmark.env.reset(jr.key(2), task)[0], [0, 0])


def test_navigation_ends_where_both_axes_are_near():
    assert arrive(NAVIGATION, [0.0, 0.0], [1.0, 0.0], [0.109, 0.009])[2]
    assert not arrive(NAVIGATION, [0.0, 0.0], [1.0, 0.0], [0.111, 0.0])[2]
    assert not arrive(NAVIGATION, [0.0, 0.0], [1.0, 0.0], [0.1, 0.011])[2]


def test_navigation_draws_a_fresh_goal_for_every_task():
    tasks = NAVIGATION.train(jr.key(0), 500)
    drawn = np.asarray(tasks.goal)
    assert np.abs(drawn).max() <= 0.5 and len(np.unique(drawn, axis=0)) == 500
    np.testing.assert_allclose(drawn.std(axis=0), 0.5 / 3**0.5, atol=0.03)
    assert (tasks.max_steps_in_episode == 100).all()


def test_horizon_and_descriptor():
    task = take(sparse_semicircle(horizon=7).train(jr.key(0), 2), jnp.array(1))
    assert task.max_steps_in_episode == 7
    np.testing.assert_array_equal(SPARSE.descriptor(task), task.goal)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="horizon must be positive, got 0"):
        dense_square(horizon=0)
    with pytest.raises(ValueError, match=r"radius must be positive, got -1\.0"):
        sparse_semicircle(radius=-1.0)
    with pytest.raises(ValueError, match="num_test must lie between 0 and 100, got 100"):
        sparse_semicircle(num_test=100)


def test_the_exact_belief_of_the_sparse_robot_rules_out_goals_and_then_knows():
    benchmark = sparse_semicircle(horizon=10)
    goal = jnp.array([0.0, 1.0])
    task = PointGoal(goal=goal, max_steps_in_episode=jnp.int32(10))
    north = Agent(
        lambda theta, key: None,
        lambda theta, phi, now, key: (jnp.array([0.0, 1.0]), {}, phi),
        lambda theta, phi, trajectories, key: phi,
    )
    _, trial = rollout(north, benchmark.env, None, None, task, num_steps=10, key=jr.key(0))
    angles = np.linspace(0.0, np.pi, 100)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.asarray(benchmark.plane.places)
    distance = np.linalg.norm(places[:, None] - goals, axis=-1)
    pays = np.where(distance <= 0.2, 1 - distance, 0.0)
    expected = benchmark.plane.expected(trial)
    # nothing was paid, or could be: the prior, but for places just 0.2 from a goal, of either side
    assert (np.abs(expected[0] - pays.mean(axis=1)) > 1e-5).mean() < 0.01
    assert trial.reward[8] > 0.85
    at_goal = int(np.argmin(np.linalg.norm(places - [0.0, 1.0], axis=1)))
    far = int(np.argmin(np.linalg.norm(places - [1.0, 0.0], axis=1)))
    assert expected[9, at_goal] > 0.95 and expected[9, far] < 1e-6 < expected[0, far]


def test_a_goal_that_was_ruled_out_stays_ruled_out():
    """North to where (0, 1) would have paid, and back to where nothing tells that goal."""
    benchmark = sparse_semicircle(horizon=20)
    task = PointGoal(goal=jnp.array([1.0, 0.0]), max_steps_in_episode=jnp.int32(20))
    there_and_back = Agent(
        lambda theta, key: jnp.int32(0),
        lambda theta, t, now, key: (jnp.array([0.0, jnp.where(t < 10, 1.0, -1.0)]), {}, t + 1),
        lambda theta, t, trajectories, key: t,
    )
    start = there_and_back.prior(None, jr.key(0))
    _, trial = rollout(
        there_and_back, benchmark.env, None, start, task, num_steps=20, key=jr.key(0)
    )
    np.testing.assert_allclose(trial.next_obs[-1], 0.0, atol=1e-6)
    places = np.asarray(benchmark.plane.places)
    north = int(np.argmin(np.linalg.norm(places - [0.0, 1.0], axis=1)))
    east = int(np.argmin(np.linalg.norm(places - [1.0, 0.0], axis=1)))
    expected = benchmark.plane.expected(trial)
    assert expected[-1, north] < 1e-6 < 0.05 < expected[0, north]
    assert expected[-1, east] > expected[0, east] > 0.05
