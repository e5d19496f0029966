"""The compiled pieces of a run: every seed's training in one program, and one evaluation.

The training loop is a `lax.while_loop` to a `stop` that is an argument, so a single compilation
serves chunks of every length, and what is computed does not depend on how a run is cut into them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.tree_util import keystr, tree_leaves_with_path
from jaxtyping import Array, Bool, Float, Int, Shaped

from metablocks.evaluate import adaptation_curve, oracle_return, repeats_averaged
from metablocks.experiment.scenery import INIT, ORACLE, TRAIN, TRIALS, held_out, paths
from metablocks.types import Agent, Benchmark, Learner

COUNTERS = ("env_steps", "grad_steps")
"""Metrics that count from the start of the run: the last value is reported, not the mean."""


class Carry(NamedTuple):
    """Where training stands. With one seed the state has no seed axis, so that none is paid for."""

    update: Int[Array, ""]
    state: Any
    sums: dict[str, Float[Array, " seeds"]]
    """Of the training metrics since the last evaluation."""
    last: dict[str, Shaped[Array, " seeds"]]
    """The training metrics of the last update."""
    finite: Bool[Array, ""]


class Evaluation(NamedTuple):
    """One evaluation on the held-out tasks."""

    returns: Float[Array, "seeds episodes"]
    stderr: Float[Array, "seeds episodes"]
    worst: Float[Array, "seeds episodes"]
    """The return in the task where it is lowest."""
    paths: Float[Array, "tasks episodes horizon 2"] | None
    """The first seed's trajectories in the first tasks, NaN after an episode's end."""


class Program(NamedTuple):
    """A run's functions, compiled, and how long that took."""

    advance: Callable[[Carry, Int[Array, ""], Int[Array, " seeds"]], Carry]
    evaluate: Callable[[Any, Int[Array, " seeds"], Int[Array, ""]], Evaluation]
    oracle: Callable[[Int[Array, " seeds"]], Float[Array, " seeds"]] | None
    damaged: Callable[[Any], Bool[Array, " leaves seeds"]]
    start: Callable[[Int[Array, " seeds"]], Carry]
    like: Carry
    """The shapes of a carry."""


def over_seeds(function: Callable, num_seeds: int, in_axes: Any = 0) -> Callable:
    """`function` for every seed: a `vmap`, or with one seed the function as it is.

    A batch of one costs time on a CPU, so a single seed runs unbatched.
    """
    return jax.vmap(function, in_axes) if num_seeds > 1 else function


def seed_axis(tree: Any, num_seeds: int) -> Any:
    """The leaves [seeds, ...], whether or not they were computed with that axis."""
    return tree if num_seeds > 1 else jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def squeezed(seeds: Int[Array, " seeds"]) -> Int[Array, "*maybe"]:
    """The seeds as `over_seeds` takes them."""
    return seeds if seeds.shape[0] > 1 else seeds[0]


def strong(tree: Any) -> Any:
    """Every leaf as an array whose dtype no Python number can change."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), tree)


def trainer(learner: Learner, num_seeds: int) -> tuple[Callable, Callable]:
    """The start of training, and its advance to a given update."""

    def init_one(seed: Int[Array, ""]) -> Any:
        return strong(learner.init(jr.fold_in(jr.key(seed), INIT)))

    def update_one(state: Any, seed: Int[Array, ""], index: Int[Array, ""]) -> Any:
        state, metrics = learner.update(state, jr.fold_in(jr.fold_in(jr.key(seed), TRAIN), index))
        return state, strong(metrics)

    update_all = over_seeds(update_one, num_seeds, (0, 0, None))

    def start(seeds):
        state = over_seeds(init_one, num_seeds)(squeezed(seeds))
        _, metrics = jax.eval_shape(update_all, state, squeezed(seeds), jnp.int32(0))
        check_metrics(metrics, num_seeds)
        last = {k: jnp.zeros(num_seeds, m.dtype) for k, m in metrics.items()}
        sums = {k: jnp.zeros(num_seeds) for k in metrics if k not in COUNTERS}
        return Carry(jnp.int32(0), state, sums, last, jnp.array(True))

    def advance(carry, stop, seeds):
        def body(carry):
            state, metrics = update_all(carry.state, squeezed(seeds), carry.update)
            last = seed_axis(metrics, num_seeds)
            sums = {k: total + last[k].astype(total.dtype) for k, total in carry.sums.items()}
            finite = jnp.stack([jnp.isfinite(m).all() for m in last.values()]).all()
            return Carry(carry.update + 1, state, sums, last, finite)

        return jax.lax.while_loop(lambda c: (c.update < stop) & c.finite, body, carry)

    return start, advance


def check_metrics(metrics: dict[str, Any], num_seeds: int) -> None:
    """The learner's metrics are scalars, one per seed."""
    wanted = (num_seeds,) if num_seeds > 1 else ()
    for name, value in metrics.items():
        if value.shape != wanted:
            shape = value.shape[1:] if num_seeds > 1 else value.shape
            raise TypeError(f"the metric {name!r} has the shape {shape}; metrics are scalars")
    for name in COUNTERS:
        if name not in metrics:
            raise TypeError(f"the learner's metrics lack {name!r}: there are {sorted(metrics)}")


def evaluator(agent: Agent, benchmark: Benchmark, cfg: Any, num_seeds: int) -> tuple:
    """The evaluation of a theta, and the oracle's return (None where none is known).

    The held-out tasks depend on the seed and not on the update. A config may say `eval_shots`,
    the parallel episodes of one round of adaptation (otherwise 1).
    """

    def evaluate_one(theta: Any, seed: Int[Array, ""], update: Int[Array, ""]) -> Any:
        tasks = held_out(benchmark, cfg, seed)
        returns, trajectories = adaptation_curve(
            agent,
            benchmark,
            theta,
            tasks,
            episodes=cfg.eval_episodes,
            key=jr.fold_in(jr.fold_in(jr.key(seed), TRIALS), update),
            shots=getattr(cfg, "eval_shots", 1),
        )
        per_task, distinct = repeats_averaged(jax.vmap(benchmark.descriptor)(tasks), returns)
        stderr = per_task.std(axis=0) / jnp.sqrt(jnp.maximum(distinct - 1, 1))
        return returns.mean(axis=0), stderr, per_task.min(axis=0), paths(benchmark, trajectories)

    def oracle_one(seed: Int[Array, ""]) -> Float[Array, ""]:
        key = jr.fold_in(jr.key(seed), ORACLE)
        returns = oracle_return(benchmark, held_out(benchmark, cfg, seed), key=key)
        assert returns is not None
        return returns.mean()

    def evaluate(theta, seeds, update):
        means, stderr, worst, path = seed_axis(
            over_seeds(evaluate_one, num_seeds, (0, 0, None))(theta, squeezed(seeds), update),
            num_seeds,
        )
        return Evaluation(means, stderr, worst, None if path is None else path[0])

    def oracle(seeds):
        return seed_axis(over_seeds(oracle_one, num_seeds)(squeezed(seeds)), num_seeds)

    return evaluate, oracle if benchmark.oracle is not None else None


def shapes(learner: Learner, num_seeds: int) -> Carry:
    """A carry's shapes and dtypes, without computing one."""
    start, _ = trainer(learner, num_seeds)
    return jax.eval_shape(start, jax.ShapeDtypeStruct((num_seeds,), jnp.int32))


def damaged(state: Any, num_seeds: int) -> Bool[Array, "leaves seeds"]:
    """Which leaves of which seed hold NaN or an infinity."""

    def bad(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return jnp.zeros(num_seeds, bool)
        rows = leaf if num_seeds > 1 else leaf[None]
        return ~jnp.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))

    return jnp.stack([bad(leaf) for leaf in jax.tree.leaves(state)])


def compiled(
    learner: Learner, agent: Agent, benchmark: Benchmark, cfg: Any, num_seeds: int
) -> Program:
    """Everything a run needs, compiled ahead, so that compiling is told apart from running."""
    seeds = jax.ShapeDtypeStruct((num_seeds,), jnp.int32)
    index = jax.ShapeDtypeStruct((), jnp.int32)
    start, advance = trainer(learner, num_seeds)
    evaluate, oracle = evaluator(agent, benchmark, cfg, num_seeds)
    like = shapes(learner, num_seeds)
    theta = like.state.theta

    return Program(
        advance=jax.jit(advance, donate_argnums=0).lower(like, index, seeds).compile(),
        evaluate=jax.jit(evaluate).lower(theta, seeds, index).compile(),
        oracle=jax.jit(oracle) if oracle else None,
        damaged=jax.jit(lambda state: damaged(state, num_seeds)),
        start=jax.jit(start),
        like=like,
    )


def leaf_names(tree: Any) -> list[str]:
    """The leaves' paths, as `damaged` numbers them."""
    return [keystr(path).lstrip(".") for path, _ in tree_leaves_with_path(tree)]


def cache_compilations() -> None:
    """Lets a second start of the same program skip its compilation."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = folder or str(Path.home() / ".cache" / "metablocks" / "jax")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
