"""Rounds of data before every inner step, and after the last."""

import dataclasses

import jax
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.adapters import AdaptationConfig, with_advantages
from metablocks.evaluate import trials
from metablocks.types import Agent, Benchmark, Key, Phi, Task, Theta, Transition


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundsConfig(AdaptationConfig):
    """The numbers of the data of an update, and of adaptation to them."""

    meta_batch: int = 20
    """Tasks of an update."""
    shots: int = 20
    """Episodes of a round: what one inner step is made of."""
    eval_shots: int = 20
    """Episodes of a round at meta-test."""


def new_rounds(
    agent: Agent, benchmark: Benchmark, cfg: RoundsConfig, theta: Theta, key: Key
) -> Transition:
    """Rounds of `meta_batch` new training tasks, from the prior on: see `rounds_of`."""
    k_tasks, k_prior, k_rounds = jr.split(key, 3)
    tasks = benchmark.train(k_tasks, cfg.meta_batch)
    phi = jax.vmap(agent.prior, (None, 0))(theta, jr.split(k_prior, cfg.meta_batch))
    return rounds_of(agent, benchmark, cfg, theta, phi, tasks, k_rounds)


def rounds_of(
    agent: Agent,
    benchmark: Benchmark,
    cfg: RoundsConfig,
    theta: Theta,
    phi: Phi,
    tasks: Task,
    key: Key,
) -> Transition:
    """What every task's agent met before its inner steps, and after the last: [tasks, K + 1, N, T].

    The extras hold what the policy recorded, `live` and `advantage`.
    """
    made = trials(
        agent,
        benchmark,
        theta,
        phi,
        tasks,
        episodes=cfg.inner_steps + 1,
        key=key,
        shots=cfg.shots,
    )
    return jax.vmap(jax.vmap(lambda rows: with_advantages(rows, cfg)))(made)


def round_returns(rounds: Transition) -> Float[Array, " rounds"]:
    """The mean undiscounted return of every round [K + 1], over tasks and episodes."""
    return (rounds.extras["live"] * rounds.reward).sum(axis=-1).mean(axis=(0, 2))
