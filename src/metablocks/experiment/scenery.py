"""What the pictures of a run show: held-out tasks in the plane, and what was believed of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from metablocks.evaluate import adaptation_curve
from metablocks.rollout import live
from metablocks.trees import merge, take
from metablocks.types import Agent, Benchmark, Task, Theta

INIT, TRAIN, TASKS, TRIALS, ORACLE, BELIEFS = range(6)
"""What a seed's key is folded with, one number for each use of it."""
PICTURED, BELIEVED = 5, 3
"""Held-out tasks whose trajectories, and whose beliefs, are drawn."""


class Marks(NamedTuple):
    """What stands still in the plane."""

    goals: Float[np.ndarray, "tasks 2"]
    walls: Bool[np.ndarray, "tasks n n"] | None


class Beliefs(NamedTuple):
    """What was expected of every place when the last step of each episode was about to be made."""

    paths: Float[Array, "tasks episodes T 2"]
    places: Float[Array, "n 2"]
    learned: Float[Array, "tasks episodes n"]
    exact: Float[Array, "tasks episodes n"] | None


def held_out(benchmark: Benchmark, cfg: Any, seed: Int[Array, ""] | int) -> Task:
    """The held-out tasks of a seed."""
    return benchmark.test(jr.fold_in(jr.key(seed), TASKS), cfg.eval_tasks)


def pictured(benchmark: Benchmark, cfg: Any, seed: int, num: int) -> Task:
    """The first `num` of them."""
    return take(held_out(benchmark, cfg, seed), jnp.arange(min(num, cfg.eval_tasks)))


def paths(benchmark: Benchmark, trajectories: Any) -> Float[Array, "tasks episodes T 2"] | None:
    """Where the first few tasks' trajectories lead in the plane, NaN after an episode's end."""
    if benchmark.plane is None:
        return None
    few = take(trajectories, jnp.arange(min(PICTURED, trajectories.reward.shape[0])))
    places = jax.vmap(jax.vmap(jax.vmap(benchmark.plane.position)))(few)
    return jnp.where(jax.vmap(jax.vmap(live))(few)[..., None], places, jnp.nan)


def marks(benchmark: Benchmark, cfg: Any, seed: int) -> Marks:
    """The goals and the walls of the tasks whose `paths` an evaluation keeps."""
    assert benchmark.plane is not None
    tasks = pictured(benchmark, cfg, seed, PICTURED)
    walls = benchmark.plane.walls
    return Marks(
        np.asarray(jax.vmap(benchmark.plane.goal)(tasks)),
        None if walls is None else np.asarray(jax.vmap(walls)(tasks)),
    )


def beliefs(agent: Agent, benchmark: Benchmark, cfg: Any, theta: Theta, seed: int) -> Any:
    """`Beliefs` of an agent that has any, in a plane with places to show them at; else None."""
    plane, expects = benchmark.plane, agent.expects
    if plane is None or plane.places is None or expects is None:
        return None
    places, expected = plane.places, plane.expected

    def act(theta, phi, timestep, key):
        k_act, k_belief = jr.split(key)
        action, extras, phi = agent.act(theta, phi, timestep, k_act)
        return action, extras | {"expected": expects(theta, phi, k_belief)}, phi

    def shown(theta: Theta, tasks: Task) -> Any:
        key = jr.fold_in(jr.key(seed), BELIEFS)
        showing, episodes = agent._replace(act=act), cfg.eval_episodes
        _, rows = adaptation_curve(showing, benchmark, theta, tasks, episodes=episodes, key=key)
        exact = None
        if expected is not None:
            known = jax.vmap(expected)(jax.vmap(merge)(rows))
            exact = known[:, (1 + jnp.arange(episodes)) * benchmark.horizon - 2]
        drawn = paths(benchmark, rows)
        assert drawn is not None
        return Beliefs(drawn, places, rows.extras["expected"][:, :, -1], exact)

    return jax.tree.map(np.asarray, jax.jit(shown)(theta, pictured(benchmark, cfg, seed, BELIEVED)))
