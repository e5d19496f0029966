"""Laws of gradient adapters: `step(theta, phi, data)` and `unroll(theta, phi, data [K, ...])`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PyTree

from metablocks.adapters import GradientAdapter, adapted, unadapted
from metablocks.laws.claim import for_all, same
from metablocks.types import Key, Theta


def adapter_unroll_equals_steps(
    adapter: GradientAdapter,
    theta: Theta,
    start: Callable[[Theta], PyTree],
    data: Callable[[Key], PyTree],
    *,
    steps: int = 3,
    examples: int = 3,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """unroll(theta, phi_0, [D_0, ..., D_{K-1}]) = phi_0, step(theta, phi_0, D_0), ...

    An outer loss differentiates the very phi that acted.

    Args:
        start: theta -> the adapting parameters before any data.
        data: key -> the data of one step.
    """

    @jax.jit
    def sides(key):
        rows = jax.vmap(data)(jr.split(key, steps))
        before, last = adapter.unroll(theta, unadapted(start(theta)), rows)
        phi, one_by_one = unadapted(start(theta)), []
        for k in range(steps):
            one_by_one.append(phi)
            phi = adapter.step(theta, phi, jax.tree.map(lambda leaf: leaf[k], rows))  # noqa: B023
        return (before, last), (jax.tree.map(lambda *phis: jnp.stack(phis), *one_by_one), phi)

    def check(seed):
        left, right = sides(jr.key(seed))
        same(left, right, "unroll = step, step, ...", rtol=rtol, atol=atol, seed=seed)

    for_all(check, examples=examples)


def adapter_gradient_is_exact(
    adapter: GradientAdapter,
    theta: Theta,
    start: Callable[[Theta], PyTree],
    data: Callable[[Key], PyTree],
    *,
    steps: int = 2,
    examples: int = 3,
    size: float = 1e-2,
    rtol: float = 5e-2,
    atol: float = 1e-2,
) -> None:
    """d phi_K / d theta, through every step, is what finite differences say it is.

        J u = (phi_K(theta + h u) - phi_K(theta - h u)) / 2 h,    the data held still

    along random directions u of length 1: not of a first-order adapter, which leaves a part of J
    out. The parameters of theta must be real numbers.

    Args:
        start, data: see `adapter_unroll_equals_steps`.
        size: h.
    """

    @jax.jit
    def sides(key):
        k_data, k_along = jr.split(key)
        rows = jax.vmap(data)(jr.split(k_data, steps + 1))
        flat, whole = jax.flatten_util.ravel_pytree(theta)
        along = jr.normal(k_along, flat.shape)
        along = along / jnp.linalg.norm(along)

        def last(flat):
            there = whole(flat)
            phis = adapted(adapter, there, start(there), rows)
            return jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: leaf[-1], phis))[0]

        told = jax.jvp(last, (flat,), (along,))[1]
        return told, (last(flat + size * along) - last(flat - size * along)) / (2 * size)

    def check(seed):
        told, seen = sides(jr.key(seed))
        law = "the derivative of phi_K is that of finite differences"
        scale = jnp.linalg.norm(seen) + 1e-8
        same(told / scale, seen / scale, law, rtol=rtol, atol=atol, seed=seed)

    for_all(check, examples=examples)
