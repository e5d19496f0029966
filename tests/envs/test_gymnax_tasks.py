"""gymnax's environments as benchmarks: the task is their parameters."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnax.environments.classic_control.cartpole import CartPole
from gymnax.environments.classic_control.continuous_mountain_car import ContinuousMountainCar
from gymnax.environments.classic_control.pendulum import EnvState, Pendulum

from metablocks.envs.gymnax_tasks import cartpole, from_params, pendulum, rescaled
from metablocks.trees import take

BENCHMARK = pendulum(horizon=4, spread=2.0)


@pytest.mark.parametrize("action", [-1.0, 0.25, 5.0])
def test_pendulum_follows_the_equation_of_motion(action):
    """theta'' = 3 g / (2 l) sin theta + 3 u / (m l^2), with torques u of up to 2."""
    theta, speed, torque = 0.7, -0.4, 2 * np.clip(action, -1, 1)
    state = EnvState(
        time=jnp.int32(0), theta=jnp.array(theta), theta_dot=jnp.array(speed), last_u=jnp.zeros(())
    )
    tasks = BENCHMARK.train(jr.key(0), 3)
    for i in range(3):
        task = take(tasks, jnp.array(i))
        m, length, g = (float(x) for x in BENCHMARK.descriptor(task))
        acceleration = 3 * g / (2 * length) * np.sin(theta) + 3 * torque / (m * length**2)
        after_speed = np.clip(speed + 0.05 * acceleration, -8, 8)
        after = theta + 0.05 * after_speed
        step = BENCHMARK.env.step(jr.key(1), state, jnp.array([action]), task)
        obs, _, reward, terminated, *_ = step
        np.testing.assert_allclose(obs, [np.cos(after), np.sin(after), after_speed], atol=1e-4)
        cost = theta**2 + 0.1 * speed**2 + 0.001 * torque**2
        np.testing.assert_allclose(np.squeeze(reward), -cost, rtol=1e-4)
        assert not terminated


def test_pendulum_draws_its_parameters_log_uniformly():
    tasks = BENCHMARK.train(jr.key(0), 500)
    default = Pendulum().default_params
    ratio = jax.vmap(BENCHMARK.descriptor)(tasks) / jnp.array([default.m, default.l, default.g])
    log = np.log2(ratio)
    assert np.abs(log).max() <= 1 + 1e-5
    np.testing.assert_allclose(log.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(log.std(axis=0), 3**-0.5, atol=0.05)
    assert np.abs(np.corrcoef(log.T) - np.eye(3)).max() < 0.15


def test_the_horizon_is_the_tasks_time_limit():
    task = take(BENCHMARK.test(jr.key(0), 1), jnp.array(0))
    _, state = BENCHMARK.env.reset(jr.key(1), task)
    for t in range(1, 5):
        _, state, _, _, truncated, _ = BENCHMARK.env.step(jr.key(t), state, jnp.zeros(1), task)
        assert truncated == (t == 4)


def test_box_actions_fill_the_unit_box():
    space = BENCHMARK.env.action_space(None)
    assert (space.low, space.high, space.shape) == (-1.0, 1.0, (1,))
    plain = Pendulum()
    plain_params = plain.default_params
    _, state = plain.reset(jr.key(0), plain_params)
    ours = rescaled(plain).step(jr.key(1), state, jnp.array([0.3]), plain_params)
    theirs = plain.step(jr.key(1), state, jnp.array([0.6]), plain_params)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)


def test_actions_beyond_the_box_are_those_at_its_edge():
    """This world charges for the action itself."""
    plain = ContinuousMountainCar()
    _, state = plain.reset(jr.key(0), plain.default_params)
    step = lambda env, push: env.step(jr.key(1), state, jnp.array([push]), plain.default_params)
    beyond, at_the_edge = step(rescaled(plain), -7.0), step(plain, -1.0)
    np.testing.assert_allclose(beyond[2], at_the_edge[2], rtol=1e-6)


def test_discrete_actions_stay():
    env = CartPole()
    assert rescaled(env) is env


def test_without_a_descriptor_a_task_is_told_by_all_its_parameters():
    env = Pendulum()
    drawn = env.default_params.replace(m=jnp.float32(3.0), l=jnp.float32(0.5))
    benchmark = from_params(env, lambda key: drawn, horizon=7)
    task = take(benchmark.test(jr.key(0), 2), jnp.array(1))
    told = dict(zip(vars(task), benchmark.descriptor(task).tolist(), strict=True))
    assert (told["m"], told["l"], told["max_steps_in_episode"]) == (3.0, 0.5, 7.0)


def test_arguments_are_checked():
    env = Pendulum()
    options = {"descriptor": lambda task: jnp.zeros(1)}
    with pytest.raises(ValueError, match="horizon must be positive, got 0"):
        from_params(env, lambda key: env.default_params, horizon=0, **options)
    with pytest.raises(ValueError, match=r"spread must be above 1, got 1\.0"):
        pendulum(spread=1.0)

    class Untimed(Pendulum):
        @property
        def default_params(self):
            return SimpleNamespace(m=1.0)

    with pytest.raises(ValueError, match="max_steps_in_episode"):
        from_params(Untimed(), lambda key: SimpleNamespace(m=1.0), horizon=3, **options)


def test_a_cartpole_falls_by_its_own_length_and_force():
    """One step of Barto, Sutton and Anderson's equations, with the drawn pole and force."""
    world = cartpole(spread=2.0)
    tasks = world.train(jr.key(0), 50)
    half, force = np.asarray(tasks.length), np.asarray(tasks.force_mag)
    for values, default in ((half, 0.5), (force, 10.0)):
        assert default / 2 <= values.min() < 0.7 * default < 1.4 * default < values.max()
    task = take(tasks, jnp.array(0))
    _, state = world.env.reset(jr.key(1), task)
    theta, omega = 0.15, 2.0
    state = state.replace(theta=jnp.float32(theta), theta_dot=jnp.float32(omega))
    told, *_ = world.env.step(jr.key(2), state, jnp.array(1), task)
    push = (force[0] + 0.1 * half[0] * omega**2 * np.sin(theta)) / 1.1
    inertia = half[0] * (4 / 3 - 0.1 * np.cos(theta) ** 2 / 1.1)
    alpha = (9.8 * np.sin(theta) - np.cos(theta) * push) / inertia
    np.testing.assert_allclose(told[3], omega + 0.02 * alpha, rtol=1e-4)
