"""Bernoulli bandits: the smallest meta-RL problem, and one whose best exploration is computable."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array

from metablocks.envs.tasks import drawn
from metablocks.types import Agent, Benchmark, Key

BAYES = 6.6599879
"""What the Bayes-optimal agent gets from 5 arms in 10 pulls, by `oracles.bandit`."""


@struct.dataclass
class Bandit:
    """The task: every arm's probability of paying 1."""

    probs: Any
    max_steps_in_episode: Any = 10


@struct.dataclass
class Pulls:
    """How many pulls were made in the episode."""

    time: Any


class BanditEnv(environment.Environment):
    """r ~ Bernoulli(probs[a]). There is nothing to observe: the observation is a constant 1."""

    def __init__(self, num_arms: int):
        self.num_arms = num_arms

    @property
    def default_params(self) -> Bandit:
        return Bandit(probs=jnp.full(self.num_arms, 0.5))

    def step_env(self, key: Key, state: Pulls, action: Array, params: Bandit):
        reward = jr.bernoulli(key, params.probs[action]).astype(jnp.float32)
        return jnp.ones(1), Pulls(time=state.time + 1), reward, jnp.array(False), {}

    def reset_env(self, key: Key, params: Bandit):
        del key
        return jnp.ones(1), Pulls(time=jnp.int32(0))

    def action_space(self, params: Bandit | None = None) -> spaces.Discrete:
        return spaces.Discrete(self.num_arms)

    def observation_space(self, params: Bandit) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (1,), jnp.float32)


def bernoulli_bandit(*, num_arms: int = 5, pulls: int = 10) -> Benchmark:
    """Bandits with probabilities p_i ~ U[0, 1]; an episode is all `pulls`, the whole trial.

    Duan et al. 2016, https://arxiv.org/abs/1611.02779, section 3.1 (there every pull is an
    episode of one step, which is the same data).

    Raises:
        ValueError: fewer than two arms, or no pull.
    """
    if num_arms < 2:
        raise ValueError(f"num_arms must be at least 2, got {num_arms}")
    if pulls < 1:
        raise ValueError(f"pulls must be positive, got {pulls}")

    def sample(key: Key) -> Bandit:
        return Bandit(probs=jr.uniform(key, (num_arms,)), max_steps_in_episode=jnp.int32(pulls))

    def told(task: Bandit) -> Agent:
        def act(theta, phi, timestep, key):
            return jnp.argmax(task.probs), {}, phi

        return Agent(lambda theta, key: None, act, lambda theta, phi, trajectories, key: phi)

    return Benchmark(
        env=BanditEnv(num_arms),
        horizon=pulls,
        train=drawn(sample),
        test=drawn(sample),
        descriptor=lambda task: task.probs,
        oracle=told,
        bayes=(BAYES,) if (num_arms, pulls) == (5, 10) else None,
    )
