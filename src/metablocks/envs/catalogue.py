"""The benchmarks that recipes name on their command line."""

from collections.abc import Callable

from metablocks.envs.bandit import bernoulli_bandit
from metablocks.envs.gridworld import gridworld, maze
from metablocks.envs.gymnax_tasks import pendulum
from metablocks.envs.half_cheetah import cheetah_direction, cheetah_velocity
from metablocks.envs.point_goal import dense_square, navigation, sparse_semicircle
from metablocks.envs.tabular import random_mdp
from metablocks.types import Benchmark

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "sparse-point-robot": sparse_semicircle,
    "point-robot": dense_square,
    "navigation": navigation,
    "cheetah-vel": cheetah_velocity,
    "cheetah-dir": cheetah_direction,
    "pendulum": pendulum,
    "bandit": bernoulli_bandit,
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
