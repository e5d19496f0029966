"""Pytree verbs that know nothing of reinforcement learning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree


def take(tree: PyTree, index: Int[Array, "..."]) -> PyTree:
    """The rows `index` of every leaf's leading axis."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def split_last(tree: PyTree) -> tuple[PyTree, PyTree]:
    """All rows but the last of every leaf's leading axis, and the last."""
    return jax.tree.map(lambda leaf: leaf[:-1], tree), jax.tree.map(lambda leaf: leaf[-1], tree)


def merge(tree: PyTree, num_axes: int = 2) -> PyTree:
    """Every leaf's first `num_axes` axes made one: [A, B, ...] to [A * B, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[num_axes:]), tree)


def where(condition: Bool[Array, "..."], yes: PyTree, no: PyTree) -> PyTree:
    """Leaf by leaf, `yes` where the condition holds, else `no`; its axes lead the leaves'."""

    def select(a: Array, b: Array) -> Array:
        tail = (1,) * (a.ndim - condition.ndim)
        return jnp.where(condition.reshape(condition.shape + tail), a, b)

    return jax.tree.map(select, yes, no)


def polyak(target: PyTree, source: PyTree, *, tau: float) -> PyTree:
    """The slow copy's step towards the source.

    target <- (1 - tau) target + tau source
    """
    return jax.tree.map(lambda slow, fast: (1 - tau) * slow + tau * fast, target, source)


def descend(
    optimiser: optax.GradientTransformation, params: PyTree, opt_state: PyTree, grads: PyTree
) -> tuple[PyTree, PyTree]:
    """One optimiser step: the new parameters and the new optimiser state."""
    updates, opt_state = optimiser.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def mean_and_sum(losses: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The sum of the losses' means, which is what is minimised, and the means by name."""
    means = jax.tree.map(jnp.mean, losses)
    return sum(means.values(), start=jnp.zeros(())), means


def gradient_steps(
    loss: Callable[..., tuple[Array, PyTree]],
    optimiser: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
    batches: PyTree,
) -> tuple[PyTree, PyTree, PyTree]:
    """One optimiser step for every row of `batches`, in their order.

    Args:
        loss: (params, batch) -> (loss, auxiliary values).

    Returns the parameters, the optimiser's state, and the auxiliary values' means.
    """

    def step(learned: tuple[PyTree, PyTree], batch: PyTree):
        params, opt_state = learned
        grads, aux = jax.grad(loss, has_aux=True)(params, batch)
        return descend(optimiser, params, opt_state, grads), aux

    (params, opt_state), aux = jax.lax.scan(step, (params, opt_state), batches)
    return params, opt_state, jax.tree.map(lambda values: values.mean(axis=0), aux)


def minibatches(
    size: int, *, epochs: int, num: int, key: PRNGKeyArray
) -> Int[Array, "steps batch"]:
    """Row numbers for `epochs` passes over `size` rows in `num` parts, shuffled in every pass.

    Returns [epochs * num, size // num]; in a pass every row comes once.

    Raises:
        ValueError: the rows cannot be shared out evenly.
    """
    if size % num:
        raise ValueError(f"{size} rows cannot be shared out into {num} equal minibatches")
    order = jax.vmap(lambda key: jr.permutation(key, size))(jr.split(key, epochs))
    return order.reshape(epochs * num, size // num)


def all_finite(tree: PyTree) -> Array:
    """Whether every floating-point leaf is free of NaN and infinity."""
    flags = [
        jnp.isfinite(leaf).all()
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    return jnp.all(jnp.stack(flags)) if flags else jnp.array(True)
