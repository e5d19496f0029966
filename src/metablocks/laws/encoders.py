"""Laws of encoders: `init() -> memory`, `update(memory, context [N, c], mask [N]) -> memory`,
`posterior(memory) -> q(z)`."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.dists import standard_normal
from metablocks.laws.claim import for_all, same

GARBAGE = 100.0


def encoder_is_permutation_invariant(
    encoder: Any,
    context_size: int,
    *,
    rows: int = 6,
    examples: int = 20,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """q(z | c_{p(1)}, ..., c_{p(N)}) = q(z | c_1, ..., c_N) for every permutation p.

    A transition tells of the task whenever it came; true of a product or a mean of factors, not
    of a memory.
    """

    @jax.jit
    def sides(key, scale):
        k_context, k_mask, k_order = jr.split(key, 3)
        context, mask = _context(k_context, k_mask, rows, context_size, scale)
        order = jr.permutation(k_order, rows)
        return _belief(encoder, context[order], mask[order]), _belief(encoder, context, mask), order

    def check(seed, scale):
        left, right, order = sides(jr.key(seed), scale)
        law = "q(z | permuted c) = q(z | c)"
        same(left, right, law, rtol=rtol, atol=atol, seed=seed, scale=scale, order=order)

    for_all(check, examples=examples, scale=(0.1, 1.0, 3.0))


def encoder_running_equals_batch(
    encoder: Any,
    context_size: int,
    *,
    rows: int = 6,
    examples: int = 20,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """update(update(m, a), b) = update(m, a ++ b): data may come in pieces."""

    def sides(key, scale, cut):
        k_context, k_mask = jr.split(key)
        context, mask = _context(k_context, k_mask, rows, context_size, scale)
        memory = encoder.update(encoder.init(), context[:cut], mask[:cut])
        memory = encoder.update(memory, context[cut:], mask[cut:])
        return encoder.posterior(memory), _belief(encoder, context, mask)

    sides = jax.jit(sides, static_argnums=2)

    def check(seed, scale, cut):
        left, right = sides(jr.key(seed), scale, cut)
        law = "update(update(m, a), b) = update(m, a ++ b)"
        same(left, right, law, rtol=rtol, atol=atol, seed=seed, scale=scale, cut=cut)

    for_all(check, examples=examples, scale=(0.1, 1.0, 3.0), cut=(0, 1, rows // 2))


def encoder_ignores_masked_rows(
    encoder: Any,
    context_size: int,
    *,
    rows: int = 6,
    examples: int = 20,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """update(m, c, mask) is the same whatever stands in the rows of c that are masked out."""

    @jax.jit
    def sides(key, garbage):
        k_context, k_mask = jr.split(key)
        context, mask = _context(k_context, k_mask, rows, context_size, 1.0)
        filled = jnp.where(mask[:, None], context, garbage)
        return _belief(encoder, filled, mask), _belief(encoder, context, mask), mask

    def check(seed, garbage):
        left, right, mask = sides(jr.key(seed), garbage)
        law = "update(m, c, mask) does not read masked rows"
        same(left, right, law, rtol=rtol, atol=atol, seed=seed, garbage=garbage, mask=mask)

    for_all(check, examples=examples, garbage=(0.0, 1.0, -GARBAGE, GARBAGE))


def encoder_without_data_is_the_prior(
    encoder: Any, context_size: int, *, rows: int = 6, examples: int = 5, atol: float = 1e-6
) -> None:
    """q(z | nothing) = N(0, I), be it an empty memory or one that saw only masked rows."""

    @jax.jit
    def beliefs(key):
        context = jr.normal(key, (rows, context_size))
        nothing = encoder.posterior(encoder.init())
        return nothing, _belief(encoder, context, jnp.zeros(rows, bool))

    def check(seed):
        nothing, masked = beliefs(jr.key(seed))
        prior = standard_normal(nothing.mode().shape[-1])
        same(nothing, prior, "posterior(init()) = N(0, I)", atol=atol, seed=seed)
        law = "posterior(update(init(), c, none)) = N(0, I)"
        same(masked, prior, law, atol=atol, seed=seed)

    for_all(check, examples=examples)


def _belief(encoder, context, mask):
    return encoder.posterior(encoder.update(encoder.init(), context, mask))


def _context(k_context, k_mask, rows, context_size, scale):
    context = scale * jr.normal(k_context, (rows, context_size))
    return context, jr.bernoulli(k_mask, 0.7, (rows,))
