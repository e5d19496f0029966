"""What an encoder sees of a transition."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from metablocks.types import Transition


def context_row(row: Transition, *, next_obs: bool = False) -> Float[Array, " c"]:
    """c_n = (s, a, r) or (s, a, r, s'), concatenated; for vector states and actions.

    The next state is redundant where only the reward tells the tasks apart (PEARL leaves it out
    there), and needed where the dynamics do.
    """
    seen = [row.timestep.obs, row.action, row.reward[None], row.next_obs]
    return jnp.concatenate(seen if next_obs else seen[:3])
