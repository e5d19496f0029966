"""Off-policy data of a fixed set of training tasks: what is kept, and what is drawn from it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Int

from metablocks import replay
from metablocks.evaluate import trials
from metablocks.exploration.held_action import held_action
from metablocks.ranges import Ranged
from metablocks.replay import Replay
from metablocks.trees import merge, take, where
from metablocks.types import Agent, Benchmark, Key, Task, Theta, Transition


class TaskData(NamedTuple):
    """The training tasks [num_tasks] and their transitions."""

    tasks: Task
    everything: Replay
    """The latest `capacity` transitions: where the batch (s, a, r, s') comes from."""
    recent: Replay
    """Each task's latest trial, in order: what a meta-test context looks like, unless the trial
    started informed."""
    explored: Replay | None
    """Each task's undirected exploration, if there was any."""


class Collection(NamedTuple):
    """How data is made and drawn, as pure functions of `TaskData`."""

    init: Callable[[Theta, Key], TaskData]
    """Every task's exploration, and one trial."""
    collect: Callable[[Theta, TaskData, Key], TaskData]
    """A new trial in `tasks_per_update` random tasks."""
    batch: Callable[[TaskData, Int[Array, " M"], int, Key], Transition]
    """(data, tasks [M], num, key) -> transitions [M, num] of all data."""
    context: Callable[[TaskData, Int[Array, " M"], Key], tuple[Transition, Bool[Array, "M N"]]]
    """(data, tasks [M], key) -> contexts [M, N] and which of their rows count: the sampler S_c."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(Ranged):
    """The numbers of off-policy data collection.

    Raises:
        ValueError: more tasks per update than tasks, a share outside [0, 1], or one of exploration
            data without exploration.
    """

    num_train_tasks: int = 100
    """Tasks to train on."""
    tasks_per_update: int = 5
    """Tasks that get a new trial in an update."""
    trial_episodes: int = 5
    """Episodes of a training trial; phi adapts after each."""
    prior_episodes: int = 2
    """Episodes of any trial that draw z from the prior, before the posterior takes over."""
    explore_episodes: int = 0
    """Episodes of held random actions in every training task at first, the same actions in all
    tasks. They find goals that no prior trial finds; 0 as PEARL published."""
    informed: float = 0.0
    """Share of training trials that start from phi adapted to those episodes."""
    explored_context: float = 0.0
    """Share of training contexts that are rows of those episodes."""
    context: Literal["recent", "first", "all"] = "recent"
    """Contexts: rows of the task's latest trial; its first K episodes, K uniform, as an agent has
    them at some moment of a trial; or rows of all the task's data (off-policy)."""
    context_rows: int = 100
    """Transitions of a context, where it is rows."""
    capacity: int = 20_000
    """Transitions kept of every task."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.tasks_per_update <= self.num_train_tasks:
            raise ValueError(
                f"tasks_per_update must lie in 1..{self.num_train_tasks} (num_train_tasks), got "
                f"{self.tasks_per_update}"
            )
        for name in ("informed", "explored_context"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {share}")
            if share > 0 and self.explore_episodes == 0:
                raise ValueError(f"{name} is {share}, which needs explore_episodes above 0")
        if self.informed > 0 and self.prior_episodes > 1:
            raise ValueError(
                f"informed is {self.informed}, but a trial that starts informed draws from the "
                f"prior again for prior_episodes - 1 = {self.prior_episodes - 1} episodes: set "
                "prior_episodes to 1"
            )


def off_policy(agent: Agent, benchmark: Benchmark, cfg: OffPolicyConfig) -> Collection:
    """Trials of `agent` in training tasks, and the contexts that its encoder is trained on.

    Raises:
        ValueError: a task's ring cannot hold a trial and the exploration.
    """
    num_tasks, episodes = cfg.num_train_tasks, cfg.trial_episodes
    steps, explored_steps = (n * benchmark.horizon for n in (episodes, cfg.explore_episodes))
    if steps + explored_steps > cfg.capacity:
        raise ValueError(
            f"capacity must hold a task's exploration and one trial, {steps + explored_steps} "
            f"transitions, got {cfg.capacity}"
        )

    def run_trials(who: Agent, theta: Theta, phi: Any, tasks: Task, rounds: int, key: Key):
        made = trials(who, benchmark, theta, phi, tasks, episodes=rounds, key=key)
        return jax.vmap(lambda rows: merge(rows, 3))(made)

    def prior(theta: Theta, num: int, key: Key):
        return jax.vmap(agent.prior, (None, 0))(theta, jr.split(key, num))

    def starts(theta: Theta, data: TaskData, ids: Array, key: Key):
        """phi before a trial: the prior, or cfg.informed by exploration."""
        k_prior, k_rows, k_adapt, k_which = jr.split(key, 4)
        phi = prior(theta, len(ids), k_prior)
        if data.explored is None or cfg.informed == 0:
            return phi
        rows = replay.sample(data.explored, ids, num=steps, key=k_rows)
        rounds = jax.vmap(lambda x: jax.tree.map(lambda leaf: leaf[None], x))(rows)
        keys = jr.split(k_adapt, len(ids))
        told = jax.vmap(agent.adapt, (None, 0, 0, 0))(theta, phi, rounds, keys)
        return where(jr.bernoulli(k_which, cfg.informed, (len(ids),)), told, phi)

    def init(theta: Theta, key: Key) -> TaskData:
        k_tasks, k_direction, k_explore, k_prior, k_trials = jr.split(key, 5)
        tasks, ids = benchmark.train(k_tasks, num_tasks), jnp.arange(num_tasks)
        phi = prior(theta, num_tasks, k_prior)
        rows = run_trials(agent, theta, phi, tasks, episodes, k_trials)
        one = jax.tree.map(lambda leaf: leaf[0, 0], rows)
        everything = replay.init(one, num_tasks=num_tasks, capacity=cfg.capacity)
        recent = replay.add(replay.init(one, num_tasks=num_tasks, capacity=steps), ids, rows)
        explored = None
        if cfg.explore_episodes > 0:
            explorer = held_action(rows.action.shape[-1], noise=0.3)
            made = jax.vmap(
                lambda task: run_trials(
                    explorer,
                    None,
                    explorer.prior(None, k_direction)[None],
                    jax.tree.map(lambda leaf: leaf[None], task),
                    cfg.explore_episodes,
                    k_explore,
                )
            )(tasks)
            made = jax.tree.map(lambda leaf: leaf[:, 0], made)
            everything = replay.add(everything, ids, made)
            empty = replay.init(one, num_tasks=num_tasks, capacity=explored_steps)
            explored = replay.add(empty, ids, made)
        return TaskData(tasks, replay.add(everything, ids, rows), recent, explored)

    def collect(theta: Theta, data: TaskData, key: Key) -> TaskData:
        k_tasks, k_start, k_trials = jr.split(key, 3)
        ids = jr.choice(k_tasks, num_tasks, (cfg.tasks_per_update,), replace=False)
        phi = starts(theta, data, ids, k_start)
        rows = run_trials(agent, theta, phi, take(data.tasks, ids), episodes, k_trials)
        return data._replace(
            everything=replay.add(data.everything, ids, rows),
            recent=replay.add(data.recent, ids, rows),
        )

    def batch(data: TaskData, ids: Array, num: int, key: Key) -> Transition:
        return replay.sample(data.everything, ids, num=num, key=key)

    def draw_context(data: TaskData, ids: Array, key: Key):
        k_rows, k_explored, k_which = jr.split(key, 3)
        if cfg.context == "first":
            rows, mask = replay.first_rounds(
                data.recent, ids, rounds=episodes, num=steps, key=k_rows
            )
        else:
            source = data.recent if cfg.context == "recent" else data.everything
            rows = replay.sample(source, ids, num=cfg.context_rows, key=k_rows)
            mask = jnp.ones((len(ids), cfg.context_rows), bool)
        if data.explored is None or cfg.explored_context == 0:
            return rows, mask
        explored = replay.sample(data.explored, ids, num=mask.shape[1], key=k_explored)
        told = jr.bernoulli(k_which, cfg.explored_context, (len(ids),))
        return where(told, explored, rows), mask | told[:, None]

    return Collection(init, collect, batch, draw_context)
