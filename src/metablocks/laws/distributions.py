"""Laws of families of distributions with `kl(other) -> [d]`, `sample(key)` and `log_prob(x)`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.laws.claim import fail, for_all, leaf_name
from metablocks.types import Key


def kl_is_a_divergence(
    draw: Callable[[Key], Any], *, examples: int = 20, atol: float = 1e-5
) -> None:
    """KL(p || q)_i >= 0 in every dimension i, and sum_i KL_i = 0 if and only if p = q.

    `draw(key)` is a random member of the family, with continuous parameters. "Only if" is tried
    with one parameter changed at a time.
    """

    def check(seed):
        k_p, k_q = jr.split(jr.key(seed))
        p, q = draw(k_p), draw(k_q)
        for name, zero in (("p", p), ("q", q)):
            kl = zero.kl(zero)
            if not jnp.all(jnp.abs(kl) <= atol):
                fail(f"KL({name} || {name}) = 0", f"p = q = {zero}", f"KL = {kl}", seed=seed)
        for name, other in [("every parameter", q), *_changed(p, q)]:
            kl = p.kl(other)
            facts = f"p = {p}", f"q = {other}", f"KL = {kl}"
            if not jnp.all(kl >= -atol):
                fail("KL(p || q)_i >= 0", *facts, seed=seed)
            if not kl.sum() > atol:
                fail("KL(p || q) > 0 where p != q", *facts, seed=seed, changed=name)

    for_all(check, examples=examples)


def kl_equals_monte_carlo(
    draw: Callable[[Key], Any],
    *,
    samples: int = 4096,
    standard_errors: float = 5.0,
    examples: int = 20,
    atol: float = 1e-4,
) -> None:
    """sum_i KL(p || q)_i = E_{x ~ p} [log p(x) - log q(x)], to its Monte Carlo error."""

    @jax.jit
    def sides(key):
        k_p, k_q, k_x = jr.split(key, 3)
        p, q = draw(k_p), draw(k_q)
        x = jax.vmap(p.sample)(jr.split(k_x, samples))
        ratio = jax.vmap(p.log_prob)(x) - jax.vmap(q.log_prob)(x)
        return p.kl(q).sum(), ratio.mean(), ratio.std() / jnp.sqrt(samples), (p, q)

    def check(seed):
        kl, mean, error, (p, q) = sides(jr.key(seed))
        if not jnp.abs(kl - mean) <= standard_errors * error + atol:
            facts = f"p = {p}", f"q = {q}", f"left {kl}", f"right {mean} +- {error}"
            fail("KL(p || q) = E_p[log p - log q]", *facts, seed=seed)

    for_all(check, examples=examples)


def _changed(p, q):
    """p with one of its parameters out of q, for every parameter."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(p)
    others = jax.tree.leaves(q)
    for i, (path, _) in enumerate(paths):
        leaves = [others[j] if i == j else leaf for j, (_, leaf) in enumerate(paths)]
        yield leaf_name(path), jax.tree.unflatten(treedef, leaves)
