"""Laws of a `Benchmark`: its task is the environment's parameter, and nothing else."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.laws.claim import fail, for_all, leaf_name
from metablocks.trees import take
from metablocks.types import Benchmark

LAW = "the environment's state holds no task: P(s', r | s, a) changes with the task only"


def task_is_constant_across_resets(
    benchmark: Benchmark, *, episodes: int = 3, observed: tuple[str, ...] = (), examples: int = 3
) -> None:
    """P(s', r | s, a; task) is the same in every episode of a task: an auto-reset draws a state,
    never a task, and the state is not where the task is kept.

    Random actions are taken for `episodes` episodes in each of two tasks. An entry of the
    environment's state is a task in disguise if it is constant within every episode, is another in
    another episode or task, and the next observation, the reward or the termination is computed
    from it. gymnax's own PointRobot draws its goal in `reset`, which is such an entry.

    Args:
        observed: leaves of the state, such as `.box`, that the observation shows: these are part
            of s, though they may lie still for a whole episode.
    """
    env = benchmark.env
    num_steps = episodes * benchmark.horizon + 1

    @jax.jit
    def run(task, key):
        k_reset, k_steps = jr.split(key)
        _, start = env.reset(k_reset, task)

        def step(state, key):
            k_act, k_env = jr.split(key)
            action = env.action_space(task).sample(k_act)
            _, after, _, terminated, truncated, _ = env.step(k_env, state, action, task)
            after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state)
            return after, (state, terminated | truncated)

        start = jax.tree.map(jnp.asarray, start)
        _, (states, ends) = jax.lax.scan(step, start, jr.split(k_steps, num_steps))
        return states, ends

    def check(seed):
        k_tasks, k_run = jr.split(jr.key(seed))
        tasks = benchmark.train(k_tasks, 2)
        pair = [take(tasks, jnp.array(i)) for i in range(2)]
        # the same keys in both tasks: what differs between them is the task's doing
        (states, ends), (others, other_ends) = (run(task, k_run) for task in pair)
        starts, other_starts = _starts(ends), _starts(other_ends)
        for (path, leaf), other in zip(
            jax.tree_util.tree_leaves_with_path(states), jax.tree.leaves(others), strict=True
        ):
            name = leaf_name(path)
            if name in observed or name not in used:
                continue
            leaf, other = np.asarray(leaf), np.asarray(other)
            still = _still(leaf, starts) & _still(other, other_starts)
            facts = f"state{name} is constant within episodes", f"it decides {used[name]}"
            redrawn = (leaf[starts] != leaf[0]) & still
            if redrawn.any():
                when = starts[np.argmax(redrawn.reshape(len(starts), -1).any(axis=1))]
                facts += (f"episode at step 0: {leaf[0]}", f"episode at step {when}: {leaf[when]}")
                fail(LAW, *facts, seed=seed, task=pair[0])
            if ((leaf[0] != other[0]) & still).any():
                facts += (f"in {pair[0]}: {leaf[0]}", f"in {pair[1]}: {other[0]}")
                fail(LAW, *facts, seed=seed)

    used = _used(env, take(benchmark.train(jr.key(0), 1), jnp.array(0)), jr.key(0))
    for_all(check, examples=examples)


def _starts(ends: Any) -> np.ndarray:
    """The steps at which episodes start."""
    return np.concatenate([[0], np.flatnonzero(np.asarray(ends)[:-1]) + 1])


def _still(leaf: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Which entries of a leaf [T, ...] keep their value within every episode."""
    episode = np.searchsorted(starts, np.arange(len(leaf)), side="right") - 1
    return np.asarray((leaf == leaf[starts][episode]).all(axis=0))


def _used(env: Any, task: Any, key: Any) -> dict[str, str]:
    """Leaves of the state from which a step computes something an agent can tell, and what.

    Read off the program and not off its values: a sparse reward shows nothing in random states.
    """
    _, state = env.reset(key, task)
    leaves, treedef = jax.tree.flatten(state)

    def step(*leaves):
        action = env.action_space(task).sample(key)
        state = jax.tree.unflatten(treedef, leaves)
        obs, _, reward, terminated, _ = env.step_env(key, state, action, task)
        return {"obs": obs, "reward": reward, "termination": terminated}

    closed, out = jax.make_jaxpr(step, return_shape=True)(*leaves)
    results = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(out)]
    names = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    used = {}
    for name, variable in zip(names, closed.jaxpr.invars, strict=True):
        reached = {id(variable)}
        for equation in closed.jaxpr.eqns:
            if any(id(read) in reached for read in equation.invars):
                reached |= {id(written) for written in equation.outvars}
        decides = [
            result
            for result, variable in zip(results, closed.jaxpr.outvars, strict=True)
            if id(variable) in reached
        ]
        if decides:
            used[name] = ", ".join(decides)
    return used
