"""A point in the plane and a goal it is not told: the navigation tasks of MAML and PEARL."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Float, Shaped

from metablocks.envs.tasks import drawn, fixed
from metablocks.types import Agent, Benchmark, Key, Plane, Transition

Point = Float[Array, " 2"]


@struct.dataclass
class PointGoal:
    """The task: where the goal is."""

    goal: Any
    max_steps_in_episode: Any = 20


@struct.dataclass
class PointState:
    """Where the point is, and the step of the episode."""

    position: Any
    time: Any


class PointGoalEnv(environment.Environment):
    """x' = x + scale clip(a, -1, 1), rewarded for where it *arrives*.

    Args:
        scale: the largest displacement per step and axis; actions lie in [-1, 1]^2.
        reward: (distance to the goal after the step) -> reward.
        start: key -> first position of an episode.
        reached: (x' - goal) -> whether the episode terminates.

    The info `dense_reward` is -distance, whatever the reward: what PEARL and MAESN train on when
    only the test reward is sparse.
    """

    def __init__(
        self,
        *,
        scale: float,
        reward: Callable[[Array], Array],
        start: Callable[[Key], Point],
        reached: Callable[[Point], Array],
    ):
        self.scale, self.reward, self.start, self.reached = scale, reward, start, reached

    @property
    def default_params(self) -> PointGoal:
        return PointGoal(goal=jnp.zeros(2))

    def step_env(self, key: Key, state: PointState, action: Array, params: PointGoal):
        del key
        position = state.position + self.scale * jnp.clip(action, -1.0, 1.0)
        gap = position - params.goal
        distance = jnp.linalg.norm(gap)
        state = PointState(position=position, time=state.time + 1)
        return (
            position,
            state,
            self.reward(distance),
            self.reached(gap),
            {"dense_reward": -distance},
        )

    def reset_env(self, key: Key, params: PointGoal):
        position = self.start(key)
        return position, PointState(position=position, time=jnp.int32(0))

    def action_space(self, params: PointGoal | None = None) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), jnp.float32)

    def observation_space(self, params: PointGoal) -> spaces.Box:
        return spaces.Box(-jnp.inf, jnp.inf, (2,), jnp.float32)


def _benchmark(env: PointGoalEnv, horizon: int, train, test) -> Benchmark:
    def told(task: PointGoal) -> Agent:
        """Every axis as fast as the box allows, then stay: optimal for any reward that falls
        with the distance."""

        def act(theta, phi, timestep, key):
            return jnp.clip((task.goal - timestep.obs) / env.scale, -1.0, 1.0), {}, phi

        return Agent(lambda theta, key: None, act, lambda theta, phi, trajectories, key: phi)

    return Benchmark(
        env=env,
        horizon=horizon,
        train=train,
        test=test,
        descriptor=lambda task: task.goal,
        oracle=told,
        plane=Plane(lambda transition: transition.timestep.obs, lambda task: task.goal),
    )


def _tasks(goals: Shaped[np.ndarray, "n 2"], horizon: int) -> PointGoal:
    steps = jnp.full(len(goals), horizon, jnp.int32)
    return PointGoal(goal=jnp.asarray(goals, jnp.float32), max_steps_in_episode=steps)


def _origin(key: Key) -> Point:
    del key
    return jnp.zeros(2)


def _never(gap: Point) -> Array:
    del gap
    return jnp.array(False)


def _positive(name: str, value: float | int) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def sparse_semicircle(
    *, radius: float = 0.2, horizon: int = 20, num_goals: int = 100, num_test: int = 20
) -> Benchmark:
    """PEARL's sparse point robot: goals on the half circle of radius 1, reward only near them.

        r = 1 - d  if  d <= radius  else  0,    x' = x + 0.1 a,    x_0 = 0

    Goals are `linspace(0, pi, 100)`, shuffled with seed 1337, the last 20 held out
    (Rakelly et al. 2019, https://arxiv.org/abs/1903.08254, and its released code).
    """
    _positive("radius", radius)
    _positive("horizon", horizon)
    if not 0 < num_test < num_goals:
        raise ValueError(f"num_test must lie between 0 and {num_goals}, got {num_test}")
    angles = np.linspace(0.0, np.pi, num_goals)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.random.RandomState(1337).shuffle(goals)

    def reward(distance: Array) -> Array:
        return jnp.where(distance <= radius, 1.0 - distance, 0.0)

    def paid(at: Float[Array, "n 2"]) -> Float[Array, "n goals"]:
        return reward(jnp.linalg.norm(at[:, None] - jnp.asarray(goals), axis=-1))

    def expected(trial: Transition) -> Float[Array, "T n"]:
        """The goals that would have paid what was paid, to 0.01, are equally likely."""
        misfit = (paid(trial.next_obs) - trial.reward[:, None]) / 0.01
        return jax.nn.softmax(-0.5 * jnp.cumsum(misfit**2, axis=0)) @ paid(places).T

    across, up = jnp.linspace(-1.4, 1.4, 29), jnp.linspace(-0.4, 1.4, 19)
    places = jnp.stack(jnp.meshgrid(across, up, indexing="ij"), axis=-1).reshape(-1, 2)
    env = PointGoalEnv(scale=0.1, reward=reward, start=_origin, reached=_never)
    train, test = (
        fixed(_tasks(goals[:-num_test], horizon)),
        fixed(_tasks(goals[-num_test:], horizon)),
    )
    made = _benchmark(env, horizon, train, test)
    assert made.plane is not None
    return made._replace(plane=made.plane._replace(places=places, expected=expected))


def dense_square(*, horizon: int = 20) -> Benchmark:
    """PEARL's dense point robot: goals and starts uniform in the square [-1, 1]^2.

        r = -d,    x' = x + 0.1 a,    x_0 ~ U[-1, 1]^2 in every episode

    The 100 goals are drawn with seed 1337, the last 20 held out (Rakelly et al. 2019,
    https://arxiv.org/abs/1903.08254, and its released code).
    """
    _positive("horizon", horizon)
    goals = np.random.RandomState(1337).uniform(-1.0, 1.0, (100, 2))
    env = PointGoalEnv(
        scale=0.1,
        reward=jnp.negative,
        start=lambda key: jr.uniform(key, (2,), minval=-1.0, maxval=1.0),
        reached=_never,
    )
    train, test = fixed(_tasks(goals[:80], horizon)), fixed(_tasks(goals[80:], horizon))
    return _benchmark(env, horizon, train, test)


def navigation(*, horizon: int = 100) -> Benchmark:
    """MAML's 2-D navigation: goals uniform in [-0.5, 0.5]^2, a fresh one for every task.

        r = -d,    x' = x + 0.1 a,    x_0 = 0,    done when |dx| < 0.01 and |dy| < 0.01

    (Finn et al. 2017, https://arxiv.org/abs/1703.03400, section 5.3, and its released code.)
    """
    _positive("horizon", horizon)

    def sample(key: Key) -> PointGoal:
        goal = jr.uniform(key, (2,), minval=-0.5, maxval=0.5)
        return PointGoal(goal=goal, max_steps_in_episode=jnp.int32(horizon))

    env = PointGoalEnv(
        scale=0.1,
        reward=jnp.negative,
        start=_origin,
        reached=lambda gap: jnp.all(jnp.abs(gap) < 0.01),
    )
    return _benchmark(env, horizon, drawn(sample), drawn(sample))
