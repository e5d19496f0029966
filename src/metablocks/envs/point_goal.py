"""A point in the plane and a goal it is not told: the navigation tasks of MAML and PEARL."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Float, Shaped

from metablocks.envs.tasks import Sampler, drawn, fixed
from metablocks.types import Agent, Benchmark, Key, Plane, Transition

Point = Float[Array, " 2"]


@struct.dataclass
class PointGoal:
    """The task: where the goal is, and whether it gives the dense reward in place of its own."""

    goal: Any
    max_steps_in_episode: Any = 20
    dense: Any = False


@struct.dataclass
class PointState:
    """Where the point is, and the step of the episode."""

    position: Any
    time: Any


class PointGoalEnv(environment.Environment):
    """x' = x + scale clip(a, -1, 1), rewarded for where it *arrives*.

    Args:
        scale: the largest displacement per step and axis; actions lie in [-1, 1]^2.
        reward: (x, x', goal) -> reward.
        start: key -> first position of an episode.
        reached: (x' - goal) -> whether the episode terminates.

    The info `dense_reward` is -distance, whatever the reward: what PEARL trains on when only the
    test reward is sparse. A task may ask for it as its reward.
    """

    def __init__(
        self,
        *,
        scale: float,
        reward: Callable[[Point, Point, Point], Array],
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
        given = self.reward(state.position, position, params.goal)
        reward = jnp.where(params.dense, -distance, given)
        state = PointState(position=position, time=state.time + 1)
        return position, state, reward, self.reached(gap), {"dense_reward": -distance}

    def reset_env(self, key: Key, params: PointGoal):
        position = self.start(key)
        return position, PointState(position=position, time=jnp.int32(0))

    def action_space(self, params: PointGoal | None = None) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), jnp.float32)

    def observation_space(self, params: PointGoal) -> spaces.Box:
        return spaces.Box(-jnp.inf, jnp.inf, (2,), jnp.float32)


def point_benchmark(env: PointGoalEnv, horizon: int, train: Sampler, test: Sampler) -> Benchmark:
    """A world of the point robot, and the agent that is told the goal."""

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


def point_tasks(goals: Shaped[np.ndarray, "n 2"], horizon: int) -> PointGoal:
    """One task for every goal."""
    return _task(jnp.asarray(goals, jnp.float32), horizon)


def _task(goal: Float[Array, "*n 2"], horizon: int, *, dense: bool = False) -> PointGoal:
    """One task, or a stack of them."""
    axes = goal.shape[:-1]
    return PointGoal(goal, jnp.full(axes, horizon, jnp.int32), jnp.full(axes, dense))


def near(radius: float) -> Callable[[Point, Point, Point], Array]:
    """1 - d within the radius of the goal, else 0."""

    def reward(before: Point, after: Point, goal: Point) -> Array:
        del before
        distance = jnp.linalg.norm(after - goal)
        return jnp.where(distance <= radius, 1.0 - distance, 0.0)

    return reward


def minus_distance(before: Point, after: Point, goal: Point) -> Array:
    """-d."""
    del before
    return -jnp.linalg.norm(after - goal)


def _origin(key: Key) -> Point:
    return jnp.zeros(2)


def never(gap: Point) -> Array:
    """No place ends an episode."""
    return jnp.array(False)


def positive(name: str, value: float | int) -> None:
    """Raises `ValueError` where the value is not positive."""
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
    positive("radius", radius)
    positive("horizon", horizon)
    if not 0 < num_test < num_goals:
        raise ValueError(f"num_test must lie between 0 and {num_goals}, got {num_test}")
    angles = np.linspace(0.0, np.pi, num_goals)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.random.RandomState(1337).shuffle(goals)

    reward = near(radius)

    def paid(at: Float[Array, "n 2"]) -> Float[Array, "n goals"]:
        every = jax.vmap(jax.vmap(reward, (None, None, 0)), (0, 0, None))
        return every(at, at, jnp.asarray(goals, jnp.float32))

    def expected(trial: Transition) -> Float[Array, "T n"]:
        """The goals that would have paid what was paid, to 0.01, are equally likely."""
        misfit = (paid(trial.next_obs) - trial.reward[:, None]) / 0.01
        return jax.nn.softmax(-0.5 * jnp.cumsum(misfit**2, axis=0)) @ paid(places).T

    across, up = jnp.linspace(-1.4, 1.4, 29), jnp.linspace(-0.4, 1.4, 19)
    places = jnp.stack(jnp.meshgrid(across, up, indexing="ij"), axis=-1).reshape(-1, 2)
    env = PointGoalEnv(scale=0.1, reward=reward, start=_origin, reached=never)
    train, test = (fixed(point_tasks(half, horizon)) for half in np.split(goals, [-num_test]))
    made = point_benchmark(env, horizon, train, test)
    assert made.plane is not None
    return made._replace(plane=made.plane._replace(places=places, expected=expected))


def dense_square(*, horizon: int = 20) -> Benchmark:
    """PEARL's dense point robot: goals and starts uniform in the square [-1, 1]^2.

        r = -d,    x' = x + 0.1 a,    x_0 ~ U[-1, 1]^2 in every episode

    The 100 goals are drawn with seed 1337, the last 20 held out (Rakelly et al. 2019,
    https://arxiv.org/abs/1903.08254, and its released code).
    """
    positive("horizon", horizon)
    goals = np.random.RandomState(1337).uniform(-1.0, 1.0, (100, 2))
    env = PointGoalEnv(
        scale=0.1,
        reward=minus_distance,
        start=lambda key: jr.uniform(key, (2,), minval=-1.0, maxval=1.0),
        reached=never,
    )
    train, test = fixed(point_tasks(goals[:80], horizon)), fixed(point_tasks(goals[80:], horizon))
    return point_benchmark(env, horizon, train, test)


def navigation(*, horizon: int = 100) -> Benchmark:
    """MAML's 2-D navigation: goals uniform in [-0.5, 0.5]^2, a fresh one for every task.

        r = -d,    x' = x + 0.1 a,    x_0 = 0,    done when |dx| < 0.01 and |dy| < 0.01

    (Finn et al. 2017, https://arxiv.org/abs/1703.03400, section 5.3, and its released code.)
    """
    positive("horizon", horizon)

    def sample(key: Key) -> PointGoal:
        goal = jr.uniform(key, (2,), minval=-0.5, maxval=0.5)
        return _task(goal, horizon)

    env = PointGoalEnv(
        scale=0.1,
        reward=minus_distance,
        start=_origin,
        reached=lambda gap: jnp.all(jnp.abs(gap) < 0.01),
    )
    return point_benchmark(env, horizon, drawn(sample), drawn(sample))


def half_circle(*, radius: float = 0.2, horizon: int = 20) -> Benchmark:
    """MAESN's sparse navigation: dense rewards to train on, sparse ones to adapt to.

        train:  r = -d,    test:  r = 1 - d  if  d <= radius  else  0,    x' = x + 0.1 a,    x_0 = 0

    Goals are uniform on the half circle of radius 1, fresh ones for every task (Gupta et al. 2018,
    https://arxiv.org/abs/1802.07245; the point robot's numbers are PEARL's).
    """
    positive("radius", radius)
    positive("horizon", horizon)

    def sample(dense: bool, key: Key) -> PointGoal:
        angle = jr.uniform(key, maxval=jnp.pi)
        return _task(jnp.stack([jnp.cos(angle), jnp.sin(angle)]), horizon, dense=dense)

    env = PointGoalEnv(scale=0.1, reward=near(radius), start=_origin, reached=never)
    train, test = (drawn(partial(sample, dense)) for dense in (True, False))
    return point_benchmark(env, horizon, train, test)
