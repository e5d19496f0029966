"""On-policy data: trials of tasks that are drawn for one update, and the latest of them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks import replay
from metablocks.evaluate import trials
from metablocks.ppo import PPOConfig
from metablocks.replay import Replay
from metablocks.rollout import live
from metablocks.trees import merge
from metablocks.types import Agent, Benchmark, Key, Theta, Transition


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(PPOConfig):
    """The numbers of trials in new tasks, and of PPO on them.

    Raises:
        ValueError: the trials of an update cannot be shared out into its minibatches.
    """

    meta_batch: int = 256
    """New tasks of an update, one trial in each."""
    trial_episodes: int = 1
    """Episodes of a training trial."""
    log_scale: float = 0.0
    """log sigma of a real action at first: the noise that an untrained policy explores with."""

    def __post_init__(self):
        super().__post_init__()
        if self.meta_batch % self.minibatches:
            raise ValueError(
                f"meta_batch got {self.meta_batch}, expected a multiple of minibatches "
                f"({self.minibatches}): change either"
            )


def new_trials(
    agent: Agent, benchmark: Benchmark, cfg: OnPolicyConfig, theta: Theta, key: Key
) -> Transition:
    """One trial in each of `meta_batch` new training tasks, from the prior on: [N, T].

    The T = `trial_episodes` x horizon steps of a trial follow one another along the last axis, so
    that a memory, and a return, can go through the ends of its episodes. Where an episode ends
    before its time, another begins in the same task; the extras say that its steps are not `live`.
    """
    k_tasks, k_prior, k_trials = jr.split(key, 3)
    tasks = benchmark.train(k_tasks, cfg.meta_batch)
    phi = jax.vmap(agent.prior, (None, 0))(theta, jr.split(k_prior, cfg.meta_batch))
    made = trials(agent, benchmark, theta, phi, tasks, episodes=cfg.trial_episodes, key=k_trials)
    counted = {"live": jax.vmap(jax.vmap(jax.vmap(live)))(made)}
    made = eqx.tree_at(lambda rows: rows.extras, made, made.extras | counted)
    return jax.vmap(lambda rows: merge(rows, 3))(made)


def trial_return(made: Transition) -> Float[Array, ""]:
    """The mean over trials [N, T] of the return of all their episodes."""
    return (made.extras["live"] * made.reward).sum(axis=1).mean()


def keep_trials(kept: Replay | None, made: Transition, *, capacity: int) -> Replay:
    """The latest `capacity` trials, whatever task they are of; of their extras only `live`.

    Raises:
        ValueError: they are fewer than were made at once.
    """
    if made.reward.shape[0] > capacity:
        raise ValueError(
            f"capacity must be at least the {made.reward.shape[0]} trials of an update, got "
            f"{capacity}: give a larger one, or a smaller meta_batch"
        )
    made = eqx.tree_at(lambda rows: rows.extras, made, {"live": made.extras["live"]})
    if kept is None:
        one = jax.tree.map(lambda leaf: leaf[0], made)
        kept = replay.init(one, num_tasks=1, capacity=capacity)
    return replay.add(kept, jnp.zeros(1, jnp.int32), jax.tree.map(lambda leaf: leaf[None], made))


def draw_trials(kept: Replay, *, num: int, key: Key) -> Transition:
    """`num` of the kept trials [num, T], uniformly and with replacement."""
    return replay.sample(kept, jnp.int32(0), num=num, key=key)
