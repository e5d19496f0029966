"""The half-cheetah's tasks, rewards and observation, on the native engine."""

import jax
import jax.numpy as jnp
import jax.random as jr
import mujoco
import numpy as np
import pytest

from metablocks.envs.half_cheetah import cheetah_direction, cheetah_velocity
from metablocks.envs.physics.base import load_model
from metablocks.trees import take


@pytest.fixture(scope="module")
def velocity():
    return cheetah_velocity("native")


@pytest.fixture(scope="module")
def direction():
    return cheetah_direction("native")


def test_goals_are_the_published_ones(velocity, direction):
    published = np.random.RandomState(1337).uniform(0, 3, 130).astype(np.float32)
    train, test = velocity.train(jr.key(0), 100), velocity.test(jr.key(0), 30)
    np.testing.assert_array_equal(np.sort(train.goal), np.sort(published[:100]))
    np.testing.assert_array_equal(np.sort(test.goal), np.sort(published[100:]))
    for sampler in (direction.train, direction.test):
        np.testing.assert_array_equal(np.sort(sampler(jr.key(1), 4).goal), [-1, -1, 1, 1])
    task = take(test, jnp.array(3))
    np.testing.assert_array_equal(velocity.descriptor(task), [test.goal[3]])
    assert velocity.horizon == 200 and (test.max_steps_in_episode == 200).all()


@pytest.mark.parametrize("name", ["velocity", "direction"])
def test_rewards_in_closed_form(name, request):
    benchmark = request.getfixturevalue(name)
    env, tasks = benchmark.env, benchmark.train(jr.key(0), 2)
    task = take(tasks, jnp.argmin(tasks.goal))  # backward, where the goal is a direction
    _, state = env.reset(jr.key(1), task)
    action = jnp.array([0.5, -0.5, 2.0, -3.0, 0.0, 1.0])
    for index in range(10):
        _, after, reward, *_ = env.step(jr.key(index), state, action, task)
        speed = float(after.physics.qpos[0] - state.physics.qpos[0]) / 0.05
        goal = float(task.goal)
        f = {"velocity": -abs(speed - goal), "direction": goal * speed}[name]
        # the action is clipped: squares .25 .25 1 1 0 1
        np.testing.assert_allclose(reward, f - 0.05 * 3.5, rtol=1e-4, atol=1e-4)
        state = after
    clipped = env.step(jr.key(9), state, jnp.clip(action, -1, 1), task)
    np.testing.assert_array_equal(env.step(jr.key(9), state, action, task)[0], clipped[0])


def test_observation_is_positions_velocities_and_mujocos_torso(velocity):
    env, task = velocity.env, take(velocity.train(jr.key(0), 1), jnp.array(0))
    obs, state = env.reset(jr.key(1), task)
    model = load_model("half_cheetah")
    data = mujoco.MjData(model)
    for index in range(5):
        physics = state.physics
        data.qpos[:] = np.asarray(physics.qpos)
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(obs[:8], physics.qpos[1:])
        np.testing.assert_allclose(obs[8:17], physics.qvel)
        np.testing.assert_allclose(obs[17:], data.body("torso").xpos, atol=1e-6)
        obs, state, *_ = env.step(jr.key(index), state, jnp.ones(6), task)
    assert obs.shape == env.observation_space(task).shape
    assert env.action_space(task).shape == (6,) and float(env.action_space(task).low) == -1


def test_reset_noise_is_gymnasiums(velocity):
    task = take(velocity.train(jr.key(0), 1), jnp.array(0))
    _, state = jax.vmap(velocity.env.reset, (0, None))(jr.split(jr.key(2), 2000), task)
    qpos, qvel = np.asarray(state.physics.qpos), np.asarray(state.physics.qvel)
    assert np.abs(qpos).max() <= 0.1
    np.testing.assert_allclose(qpos.std(axis=0), 0.1 / np.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(qvel.std(axis=0), 0.1, rtol=0.1)
    np.testing.assert_allclose([qpos.mean(), qvel.mean()], 0.0, atol=0.005)


def test_an_episode_is_cut_at_its_horizon_and_never_ends_before():
    benchmark = cheetah_direction("native", horizon=7)
    env, task = benchmark.env, take(benchmark.train(jr.key(0), 1), jnp.array(0))

    def step(state, key):
        # upside down or not: the cheetah may not terminate
        _, state, _, terminated, truncated, _ = env.step(key, state, jnp.ones(6), task)
        return state, (terminated, truncated, state.time)

    _, state = env.reset(jr.key(0), task)
    _, (terminated, truncated, time) = jax.lax.scan(step, state, jr.split(jr.key(1), 15))
    assert not terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(truncated), [6, 13])
    np.testing.assert_array_equal(time, [1, 2, 3, 4, 5, 6, 0] * 2 + [1])


def test_a_horizon_must_be_positive():
    with pytest.raises(ValueError, match="horizon must be positive, got 0"):
        cheetah_velocity("native", horizon=0)
