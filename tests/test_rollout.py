"""The environment loop against a Python loop, and what it records at the ends of episodes."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.envs.point_goal import dense_square, navigation
from metablocks.rollout import episode_return, live, null_step, rollout
from metablocks.trees import take
from metablocks.types import Agent, TimeStep

HORIZON, STEPS = 3, 8
BENCHMARK = dense_square(horizon=HORIZON)
ENV = BENCHMARK.env


def act(theta, phi, timestep, key):
    """Random, and a memory of rewards over the whole rollout."""
    action = jnp.clip(theta * jr.normal(key, (2,)), -1, 1)
    return action, {"phi": phi}, phi + timestep.prev_reward


AGENT = Agent(lambda theta, key: jnp.zeros(()), act, lambda theta, phi, trajectories, key: phi)


@jax.jit
def run(task, key, after=None):
    theta, phi = jnp.float32(0.7), jnp.float32(0.0)
    return rollout(AGENT, ENV, theta, phi, task, num_steps=STEPS, key=key, after=after)


@pytest.fixture(scope="module")
def task():
    return take(BENCHMARK.train(jr.key(0), 1), jnp.array(0))


@pytest.fixture(scope="module")
def trajectory(task):
    return run(task, jr.key(1))[1]


def test_equals_a_python_loop(task):
    phi_end, actual = run(task, jr.key(1))
    k_reset, k_steps = jr.split(jr.key(1))
    obs, state = ENV.reset(k_reset, task)
    timestep = TimeStep(obs, jnp.zeros(2), jnp.zeros(()), jnp.array(True))
    phi = jnp.zeros(())
    for t, key in enumerate(jr.split(k_steps, STEPS)):
        k_act, k_env = jr.split(key)
        action, extras, phi = act(jnp.float32(0.7), phi, timestep, k_act)
        obs, state, reward, terminated, truncated, info = ENV.step(k_env, state, action, task)
        expected = (timestep.obs, timestep.prev_action, timestep.prev_reward, action, reward)
        row = take(actual, jnp.array(t))
        step = row.timestep
        found = (step.obs, step.prev_action, step.prev_reward, row.action, row.reward)
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row.next_obs, info["final_observation"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row.extras["phi"], extras["phi"], rtol=1e-5, atol=1e-6)
        assert step.first == timestep.first
        assert (row.terminated, row.truncated) == (terminated, truncated)
        timestep = TimeStep(obs, action, reward, terminated | truncated)
    np.testing.assert_allclose(phi_end, phi, rtol=1e-5)


def test_first_marks_the_start_and_every_step_after_an_end(trajectory):
    np.testing.assert_array_equal(np.flatnonzero(trajectory.timestep.first), [0, 3, 6])
    np.testing.assert_array_equal(np.flatnonzero(trajectory.truncated), [2, 5])


def test_next_obs_at_an_end_is_the_final_observation_not_the_reset(trajectory):
    obs, action = trajectory.timestep.obs, trajectory.action
    np.testing.assert_allclose(trajectory.next_obs, obs + 0.1 * action, atol=1e-6)
    jump = np.abs(trajectory.next_obs[:-1] - obs[1:]).max(axis=1) > 1e-3
    np.testing.assert_array_equal(np.flatnonzero(jump), [2, 5])


def test_a_time_limit_is_no_termination(trajectory):
    assert trajectory.truncated.any() and not trajectory.terminated.any()


def test_a_termination_is_no_truncation():
    """Navigation's goal within reach of the first step, and a time limit of one step."""
    benchmark = navigation(horizon=1)
    task = benchmark.env.default_params.replace(
        goal=jnp.array([0.1, 0.0]), max_steps_in_episode=jnp.int32(1)
    )
    told = benchmark.oracle(task)
    _, trajectory = rollout(told, benchmark.env, None, None, task, num_steps=2, key=jr.key(0))
    assert trajectory.terminated.all() and not trajectory.truncated.any()
    assert trajectory.timestep.first.all()


def test_the_task_is_constant_across_resets(task, trajectory):
    distance = np.linalg.norm(trajectory.next_obs - task.goal, axis=1)
    np.testing.assert_allclose(trajectory.reward, -distance, rtol=1e-5)
    np.testing.assert_allclose(trajectory.extras["dense_reward"], -distance, rtol=1e-5)
    assert set(trajectory.extras) == {"dense_reward", "phi"}


def test_memory_crosses_the_ends_of_episodes(trajectory):
    before = np.concatenate([[0, 0], np.cumsum(trajectory.reward)[: STEPS - 2]])
    np.testing.assert_allclose(trajectory.extras["phi"], before, rtol=1e-5)


def test_after_is_the_step_before(task, trajectory):
    _, again = run(task, jr.key(1), (jnp.array([0.5, -0.5]), jnp.float32(3.0)))
    np.testing.assert_array_equal(again.timestep.prev_action[0], [0.5, -0.5])
    assert again.timestep.prev_reward[0] == 3.0 and again.timestep.first[0]
    np.testing.assert_array_equal(again.action, trajectory.action)
    action, reward = null_step(ENV, task)
    np.testing.assert_array_equal(trajectory.timestep.prev_action[0], action)
    assert trajectory.timestep.prev_reward[0] == reward == 0


def test_live_steps_are_the_first_episode(trajectory):
    np.testing.assert_array_equal(live(trajectory), np.arange(STEPS) < HORIZON)
    np.testing.assert_allclose(episode_return(trajectory), trajectory.reward[:HORIZON].sum())
