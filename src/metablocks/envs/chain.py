"""Three states in a row: the two partially observed problems whose posteriors one can do by hand.

In the one the *state* is unknown: nothing is observed but the reward. In the other the *task* is
unknown: the state is observed, the goal is not. Both are POMDPs; meta-RL is the second.
"""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Float

from metablocks.envs.tasks import drawn
from metablocks.types import Benchmark, Key

STATES = 3
LEFT, RIGHT = 0, 1


@struct.dataclass
class Chain:
    """The task: where the reward is."""

    goal: Any
    max_steps_in_episode: Any = 4


@struct.dataclass
class Link:
    """The state in the row, and the step of the episode."""

    state: Any
    time: Any


class ChainEnv(environment.Environment):
    """One state to the left or to the right, not beyond the ends; r = 1 on arriving at the goal.

    Args:
        observed: whether the observation is the state, one-hot, or a constant.
        start: the first state of an episode, or None for one drawn uniformly.
    """

    def __init__(self, *, observed: bool, start: int | None):
        self.observed, self.start = observed, start

    @property
    def default_params(self) -> Chain:
        return Chain(goal=jnp.int32(STATES - 1))

    def step_env(self, key: Key, state: Link, action: Array, params: Chain):
        del key
        step = jnp.where(action == RIGHT, 1, -1)
        there = jnp.clip(state.state + step, 0, STATES - 1)
        reward = (there == params.goal).astype(jnp.float32)
        link = Link(state=there, time=state.time + 1)
        return self._observation(link), link, reward, jnp.array(False), {"state": there}

    def reset_env(self, key: Key, params: Chain):
        del params
        drawn_state = jr.randint(key, (), 0, STATES)
        link = Link(
            state=drawn_state if self.start is None else jnp.int32(self.start), time=jnp.int32(0)
        )
        return self._observation(link), link

    def _observation(self, link: Link) -> Float[Array, " o"]:
        return jax.nn.one_hot(link.state, STATES) if self.observed else jnp.ones(1)

    def action_space(self, params: Chain | None = None) -> spaces.Discrete:
        return spaces.Discrete(2)

    def observation_space(self, params: Chain) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (STATES if self.observed else 1,), jnp.float32)


def _benchmark(env: ChainEnv, goals: tuple[int, ...], horizon: int) -> Benchmark:
    if horizon < 1:
        raise ValueError(f"horizon must be positive, got {horizon}")

    def sample(key: Key) -> Chain:
        goal = jr.choice(key, jnp.array(goals, jnp.int32))
        return Chain(goal=goal, max_steps_in_episode=jnp.int32(horizon))

    return Benchmark(
        env=env,
        horizon=horizon,
        train=drawn(sample),
        test=drawn(sample),
        descriptor=lambda task: jax.nn.one_hot(task.goal, STATES),
    )


def unknown_state(*, horizon: int = 4) -> Benchmark:
    """The reward is at the right end, the start anywhere, and nothing else is observed."""
    return _benchmark(ChainEnv(observed=False, start=None), (STATES - 1,), horizon)


def unknown_task(*, horizon: int = 4) -> Benchmark:
    """The state is observed, from the middle on; the reward is at an end or in the middle."""
    return _benchmark(ChainEnv(observed=True, start=1), tuple(range(STATES)), horizon)
