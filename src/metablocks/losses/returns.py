"""Discount arrays and returns along one trajectory [T]."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def discounts(terminated: Bool[Array, "*T"], *, gamma: float) -> Float[Array, "*T"]:
    """discount_t = gamma (1 - terminated_t).

    Only the MDP's own end cuts a bootstrap; a time limit never does.
    """
    return gamma * (1.0 - terminated.astype(jnp.float32))


def discounted_returns(
    r_t: Float[Array, " T"], discount_t: Float[Array, " T"], *, bootstrap: Float[Array, ""]
) -> Float[Array, " T"]:
    """The return from every step on.

    G_t = r_t + discount_t G_{t+1},    G_T = bootstrap
    """

    def backwards(g, step):
        r, discount = step
        g = r + discount * g
        return g, g

    _, g = jax.lax.scan(backwards, bootstrap, (r_t, discount_t), reverse=True)
    return g
