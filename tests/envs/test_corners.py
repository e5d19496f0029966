"""The four corners and the half circle: what pays where."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.envs.corners import corners
from metablocks.envs.point_goal import PointState, half_circle
from metablocks.evaluate import oracle_return

DENSE, SPARSE = corners(), corners(sparse=True)


def reward(benchmark, position, action, goal, **task):
    task = benchmark.env.default_params.replace(goal=jnp.array(goal), **task)
    state = PointState(position=jnp.array(position), time=jnp.int32(0))
    obs, _, reward, terminated, _, _ = benchmark.env.step(jr.key(0), state, jnp.array(action), task)
    assert not terminated
    return np.asarray(obs), float(reward)


def test_the_four_corners_are_both_sets_of_tasks():
    for tasks in (DENSE.train(jr.key(0), 4), SPARSE.test(jr.key(1), 4)):
        assert {tuple(goal) for goal in np.asarray(tasks.goal).tolist()} == {
            (x, y) for x in (-2.0, 2.0) for y in (-2.0, 2.0)
        }


def test_a_step_is_at_most_a_fifth_and_the_dense_reward_minus_the_distance():
    obs, paid = reward(DENSE, [0.0, 0.0], [5.0, -0.5], [2.0, 2.0])
    np.testing.assert_allclose(obs, [0.2, -0.1], rtol=1e-6)
    np.testing.assert_allclose(paid, -np.hypot(1.8, 2.1), rtol=1e-6)


@pytest.mark.parametrize(
    ("position", "pays"),
    [
        ([1.0, 1.0], True),
        ([0.1, 0.1], False),  # too near the middle: |x'|_1 < 0.5
        ([1.0, -1.0], False),  # another corner is nearer
        ([-1.0, -1.0], False),
    ],
)
def test_the_sparse_reward_is_progress_in_the_goal_s_own_corner(position, pays):
    obs, paid = reward(SPARSE, position, [0.4, 0.2], [2.0, 2.0])
    gap = [np.hypot(*(np.array(at) - 2.0)) for at in (position, obs)]
    np.testing.assert_allclose(paid, (gap[0] - gap[1]) * pays, rtol=1e-5)


def test_starts_are_near_the_middle_and_differ():
    starts = np.array(
        [SPARSE.env.reset(jr.key(i), SPARSE.env.default_params)[0] for i in range(20)]
    )
    assert np.abs(starts).max() <= 0.2 and starts.std() > 0.05


def test_only_the_dense_world_s_best_agent_is_known():
    assert SPARSE.oracle is None
    best = oracle_return(DENSE, DENSE.test(jr.key(0), 4), key=jr.key(1))
    # ten steps of 0.2 along both axes from near (0, 0), then it stays
    np.testing.assert_allclose(best, -2 * np.sqrt(2) * (1 - 0.1 * np.arange(1, 11)).sum(), rtol=0.1)


def test_the_half_circle_trains_on_dense_rewards_and_tests_on_sparse_ones():
    world = half_circle()
    train, test = world.train(jr.key(0), 50), world.test(jr.key(0), 50)
    for tasks in (train, test):
        np.testing.assert_allclose(jnp.linalg.norm(tasks.goal, axis=1), 1.0, rtol=1e-5)
        assert (tasks.goal[:, 1] >= 0).all() and tasks.goal[:, 0].min() < -0.8
    assert train.dense.all() and not test.dense.any()
    far = reward(world, [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], dense=True)[1]
    np.testing.assert_allclose(far, -np.hypot(0.1, 1.0), rtol=1e-6)
    assert reward(world, [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], dense=False)[1] == 0.0
    np.testing.assert_allclose(
        reward(world, [0.0, 0.8], [0.0, 1.0], [0.0, 1.0], dense=False)[1], 0.9, rtol=1e-5
    )


@pytest.mark.parametrize("options", [{"horizon": 0}, {"radius": 0.0}])
def test_sizes_must_be_positive(options):
    for world in (corners, half_circle):
        with pytest.raises(ValueError, match="must be positive, got 0"):
            world(**options)
