"""The benchmarks that recipes name on their command line."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gymnax.environments import spaces

from metablocks.envs.bandit import bernoulli_bandit
from metablocks.envs.corners import corners
from metablocks.envs.gridworld import gridworld
from metablocks.envs.gymnax_tasks import cartpole, pendulum
from metablocks.envs.half_cheetah import cheetah_direction, cheetah_velocity
from metablocks.envs.maze import maze
from metablocks.envs.point_goal import (
    dense_square,
    half_circle,
    navigation,
    sparse_semicircle,
)
from metablocks.envs.tabular import random_mdp
from metablocks.types import Benchmark

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "sparse-point-robot": sparse_semicircle,
    "point-robot": dense_square,
    "navigation": navigation,
    "corners": corners,
    "sparse-corners": partial(corners, sparse=True),
    "half-circle": half_circle,
    "cheetah-vel": cheetah_velocity,
    "cheetah-dir": cheetah_direction,
    "pendulum": pendulum,
    "cartpole": cartpole,
    "bandit": bernoulli_bandit,
    "bandit-100": partial(bernoulli_bandit, pulls=100),
    "tabular-mdp": random_mdp,
    "gridworld": gridworld,
    "maze": maze,
}


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name with its published settings.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]()


class Interface(NamedTuple):
    """What a network must know of a benchmark."""

    obs_size: int
    """Length of the observation."""
    num_actions: int
    """How many actions there are, or the length of a real action."""
    discrete: bool
    """Which of the two."""


def interface(benchmark: Benchmark) -> Interface:
    """The sizes of a benchmark with observations [obs_size], discrete actions or not."""
    env = benchmark.env
    params = env.default_params
    obs_size = env.observation_space(params).shape[0]
    actions = env.action_space(params)
    if isinstance(actions, spaces.Discrete):
        return Interface(obs_size, int(actions.n), True)
    return Interface(obs_size, actions.shape[0], False)


def sizes(benchmark: Benchmark) -> tuple[int, int]:
    """Lengths of the observation and of the action, for vector-valued ones.

    Raises:
        ValueError: the actions are discrete.
    """
    env = benchmark.env
    params = env.default_params
    actions = env.action_space(params).shape
    if len(actions) != 1:
        raise ValueError(f"{env.name} has no vector of continuous actions, but this needs one")
    return env.observation_space(params).shape[0], actions[0]
