"""The half-cheetah that must run at an unknown speed, or in an unknown direction."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Float

from metablocks.envs.physics import Physics, PhysicsState, make_physics
from metablocks.envs.tasks import fixed
from metablocks.types import Benchmark, Key

FRAME_SKIP = 5
TORSO_HEIGHT = 0.7
"""Where half_cheetah.xml places the torso at qpos = 0, in metres."""
CONTROL_COST = 0.05
RESET_NOISE = 0.1


@struct.dataclass
class Cheetah:
    """The task: what to run for, and the model fields that differ from the XML's.

    `goal` is a speed in m/s, or a direction, -1 or +1; it never reaches the simulator.
    `overrides` must have been through `Physics.derive`.
    """

    goal: Any
    max_steps_in_episode: Any = 200
    overrides: Any = struct.field(default_factory=dict)


@struct.dataclass
class CheetahState:
    """The simulation, and the step of the episode."""

    physics: Any
    time: Any


class HalfCheetah(environment.Environment[CheetahState, Cheetah]):
    """gymnasium's half-cheetah, rewarded for how its velocity meets the task; it never terminates.

        r = f(v, goal) - 0.05 ||a||^2,    v = (x' - x) / dt,    a clipped to [-1, 1]^6
        s = (qpos[1:], qvel, position of the torso) in R^20
        s_0: qpos + U[-0.1, 0.1],  qvel + 0.1 N(0, 1)

    Args:
        physics: an engine on gymnasium's half_cheetah.xml.
        progress: (v, goal) -> f.
    """

    def __init__(self, physics: Physics, progress: Callable[[Array, Array], Array]):
        self.physics, self.progress = physics, progress

    @property
    def default_params(self) -> Cheetah:
        return Cheetah(goal=jnp.array(1.0))

    def step_env(self, key: Key, state: CheetahState, action: Array, params: Cheetah):
        del key
        action = jnp.clip(action, -1.0, 1.0)
        physics = self.physics.step(state.physics, action, params.overrides)
        velocity = (physics.qpos[0] - state.physics.qpos[0]) / self.physics.dt
        reward = self.progress(velocity, params.goal) - CONTROL_COST * jnp.sum(action**2)
        state = CheetahState(physics=physics, time=state.time + 1)
        return observation(physics), state, reward, jnp.array(False), {}

    def reset_env(self, key: Key, params: Cheetah):
        k_qpos, k_qvel = jr.split(key)
        # qpos = 0 is the model's own start
        qpos = jr.uniform(k_qpos, (self.physics.nq,), minval=-RESET_NOISE, maxval=RESET_NOISE)
        qvel = RESET_NOISE * jr.normal(k_qvel, (self.physics.nv,))
        physics = self.physics.reset(qpos, qvel, params.overrides)
        return observation(physics), CheetahState(physics=physics, time=jnp.int32(0))

    def action_space(self, params: Cheetah | None = None) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (6,), jnp.float32)

    def observation_space(self, params: Cheetah) -> spaces.Box:
        return spaces.Box(-jnp.inf, jnp.inf, (20,), jnp.float32)


def observation(physics: PhysicsState) -> Float[Array, " 20"]:
    """(qpos[1:], qvel, position of the torso): the published experiments' observation.

    The torso hangs on two slides, so its position is (qpos[0], 0, 0.7 + qpos[1]) in closed form.
    """
    x, z = physics.qpos[0], physics.qpos[1]
    torso = jnp.stack([x, jnp.zeros_like(x), TORSO_HEIGHT + z])
    return jnp.concatenate([physics.qpos[1:], physics.qvel, torso])


def track_speed(velocity: Float[Array, ""], goal: Float[Array, ""]) -> Float[Array, ""]:
    """-|v - goal|."""
    return -jnp.abs(velocity - goal)


def run_along(velocity: Float[Array, ""], goal: Float[Array, ""]) -> Float[Array, ""]:
    """goal v, for a goal of -1 or +1."""
    return goal * velocity


def cheetah_velocity(
    engine: str | None = None, *, horizon: int = 200, **physics_options: Any
) -> Benchmark:
    """PEARL's cheetah-vel: 100 training and 30 test speeds, all from U[0, 3] with seed 1337.

        r = -|v - goal| - 0.05 ||a||^2

    (Rakelly et al. 2019, https://arxiv.org/abs/1903.08254, and its released code.) `engine` and
    `physics_options` go to `make_physics`.
    """
    goals = np.random.RandomState(1337).uniform(0.0, 3.0, 130)
    return _benchmark(track_speed, goals[:100], goals[100:], horizon, engine, physics_options)


def cheetah_direction(
    engine: str | None = None, *, horizon: int = 200, **physics_options: Any
) -> Benchmark:
    """PEARL's cheetah-dir: backward and forward, the same two tasks to train and to test on.

        r = goal v - 0.05 ||a||^2,    goal in {-1, +1}

    (Rakelly et al. 2019, https://arxiv.org/abs/1903.08254, and its released code.) `engine` and
    `physics_options` go to `make_physics`.
    """
    goals = np.array([-1.0, 1.0])
    return _benchmark(run_along, goals, goals, horizon, engine, physics_options)


def _benchmark(
    progress: Callable[[Array, Array], Array],
    train: Float[np.ndarray, " train"],
    test: Float[np.ndarray, " test"],
    horizon: int,
    engine: str | None,
    physics_options: dict[str, Any],
) -> Benchmark:
    if horizon < 1:
        raise ValueError(f"horizon must be positive, got {horizon}")
    physics = make_physics("half_cheetah", frame_skip=FRAME_SKIP, engine=engine, **physics_options)

    def tasks(goals: np.ndarray) -> Cheetah:
        steps = jnp.full(len(goals), horizon, jnp.int32)
        return Cheetah(goal=jnp.asarray(goals, jnp.float32), max_steps_in_episode=steps)

    return Benchmark(
        env=HalfCheetah(physics, progress),
        horizon=horizon,
        train=fixed(tasks(train)),
        test=fixed(tasks(test)),
        descriptor=lambda task: task.goal[None],
    )
