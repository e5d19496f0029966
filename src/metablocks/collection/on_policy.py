"""On-policy data: trials of tasks that are drawn for one update and then forgotten."""

import dataclasses
from typing import Literal

import jax
import jax.random as jr

from metablocks.evaluate import trials
from metablocks.trees import merge
from metablocks.types import Agent, Benchmark, Key, Theta, Transition


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnPolicyConfig:
    """The numbers of trials in new tasks, and of proximal policy optimisation on them.

    Raises:
        ValueError: the trials of an update cannot be shared out into its minibatches.
    """

    eval_mode: Literal["deterministic", "stochastic"] = "deterministic"
    """Whether the evaluated policy acts by its mode or by a sample."""
    meta_batch: int = 256
    """New tasks of an update, one trial in each."""
    trial_episodes: int = 1
    """Episodes of a training trial."""
    epochs: int = 4
    """Passes over an update's trials."""
    minibatches: int = 4
    """Gradient steps of a pass."""
    lr: float = 1e-3
    """Adam's step size."""
    lr_end: float = 0.1
    """Share of it that is left at the end, linearly."""
    max_grad_norm: float = 0.5
    """Longer gradients are scaled down to this norm."""
    epsilon: float = 0.2
    """PPO's clip."""
    gamma: float = 0.95
    """Discount, over the trial."""
    lam: float = 0.95
    """Weight of later temporal-difference errors in an advantage."""
    value_coef: float = 0.5
    """Weight of the value's loss, c_V."""
    entropy_coef: float = 0.05
    """Weight of the policy's entropy, c_H, at first."""
    entropy_end: float = 0.04
    """Share of it that is left at the end, linearly."""
    reward_scale: float = 1.0
    """Factor on the rewards that are learned from."""

    def __post_init__(self):
        if self.meta_batch % self.minibatches:
            raise ValueError(
                f"meta_batch must be a multiple of minibatches ({self.minibatches}), got "
                f"{self.meta_batch}"
            )


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
