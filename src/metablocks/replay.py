"""Replay for many tasks: one ring of items per task.

A hand-written ring rather than flashbax: its buffers have one cursor, so that there is one per task
under `vmap`, which draws a meta-batch 1.4 times slower than this ring (`benchmarks/replay.py`).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Int, PyTree

from metablocks.types import Key


class Replay(eqx.Module):
    """Rings [num_tasks, capacity, ...] and how many items each task has ever been given."""

    items: PyTree
    added: Int[Array, " tasks"]

    @property
    def capacity(self) -> int:
        """Items a task's ring holds."""
        return jax.tree.leaves(self.items)[0].shape[1]


def init(item: PyTree, *, num_tasks: int, capacity: int) -> Replay:
    """Empty rings for items like `item` (arrays or `ShapeDtypeStruct`s).

    Raises:
        ValueError: num_tasks or capacity is not positive.
    """
    for name, value in (("num_tasks", num_tasks), ("capacity", capacity)):
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    items = jax.tree.map(lambda x: jnp.zeros((num_tasks, capacity, *x.shape), x.dtype), item)
    return Replay(items, jnp.zeros(num_tasks, jnp.int32))


def add(replay: Replay, tasks: Int[Array, " M"], items: PyTree) -> Replay:
    """Items [M, n, ...] put into the rings of M different tasks, over the oldest ones.

    Raises:
        ValueError: n exceeds the capacity.
    """
    n, capacity = jax.tree.leaves(items)[0].shape[1], replay.capacity
    if n > capacity:
        raise ValueError(
            f"a ring of capacity {capacity} cannot take {n} items at once: give a larger capacity"
        )
    slots = (replay.added[tasks][:, None] + jnp.arange(n)) % capacity
    stored = jax.tree.map(
        lambda ring, new: ring.at[tasks[:, None], slots].set(new), replay.items, items
    )
    return Replay(stored, replay.added.at[tasks].add(n))


def sample(replay: Replay, tasks: Int[Array, "*M"], *, num: int, key: Key) -> PyTree:
    """`num` items [*M, num, ...] of every named task, uniformly and with replacement.

    A task that was never given anything yields the zeros it was made with.
    """
    held = jnp.minimum(replay.added[tasks], replay.capacity)[..., None]
    slots = jr.randint(key, (*tasks.shape, num), 0, jnp.maximum(held, 1))
    return jax.tree.map(lambda ring: ring[tasks[..., None], slots], replay.items)


def latest(
    replay: Replay, tasks: Int[Array, "*M"], *, num: int
) -> tuple[PyTree, Bool[Array, "*M num"]]:
    """The `num` items [*M, num, ...] each task was last given, oldest first, and which exist.

    Raises:
        ValueError: num exceeds the capacity.
    """
    if num > replay.capacity:
        raise ValueError(f"cannot show {num} items of a ring of capacity {replay.capacity}")
    back = replay.added[tasks][..., None] - num + jnp.arange(num)
    slots = back % replay.capacity
    return jax.tree.map(lambda ring: ring[tasks[..., None], slots], replay.items), back >= 0


def first_rounds(
    replay: Replay, tasks: Int[Array, " M"], *, rounds: int, num: int, key: Key
) -> tuple[PyTree, Bool[Array, "M num"]]:
    """The latest `num` items [M, num, ...] and a mask that shows their first K rounds only.

        K ~ U{1, ..., rounds}, for every task anew

    What an agent has seen between the rounds of its trial, the start left out. The latest `num`
    items of every task must be one whole trial.
    """
    items, exists = latest(replay, tasks, num=num)
    shown = jr.randint(key, (len(tasks), 1), 1, rounds + 1) * (num // rounds)
    return items, exists & (jnp.arange(num) < shown)
