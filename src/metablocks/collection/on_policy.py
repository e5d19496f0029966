"""On-policy data: trials of tasks that are drawn for one update and then forgotten."""

import jax
import jax.random as jr

from metablocks.evaluate import trials
from metablocks.trees import merge
from metablocks.types import Agent, Benchmark, Key, Theta, Transition


def new_trials(
    agent: Agent, benchmark: Benchmark, theta: Theta, *, num: int, episodes: int, key: Key
) -> Transition:
    """One trial in each of `num` new training tasks, from the prior on: [num, episodes * horizon].

    The episodes of a trial follow one another along the last axis, so that a memory, and a
    return, can go through their ends.
    """
    k_tasks, k_prior, k_trials = jr.split(key, 3)
    tasks = benchmark.train(k_tasks, num)
    phi = jax.vmap(agent.prior, (None, 0))(theta, jr.split(k_prior, num))
    made = trials(agent, benchmark, theta, phi, tasks, episodes=episodes, key=k_trials)
    return jax.vmap(lambda rows: merge(rows, 3))(made)
