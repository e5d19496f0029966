"""Exact beliefs of finite problems."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def filtered(
    belief: Float[Array, " S"], transition: Float[Array, "S S"], likelihood: Float[Array, " S"]
) -> Float[Array, " S"]:
    """The Bayes filter's step: where one is after an action and what was seen of it.

        b'(s')  proportional to  p(o, r | s') sum_s P(s' | s, a) b(s)

    Over an unknown task, whose identity stays, `transition` is the identity matrix.

    Args:
        belief: b(s).
        transition: P(s' | s, a) of the action that was taken, [s, s'].
        likelihood: p(o, r | s') of what was seen, for every s'.

    Where the observation has no likelihood anywhere, the result is NaN.
    """
    joint = likelihood * (belief @ transition)
    return joint / jnp.sum(joint)
