"""The evidence lower bound of a trial: every belief on the way explains past and future."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.types import Key


def kl_chain(q: Any, prior: Any) -> Float[Array, " T"]:
    """What every belief tells beyond the one before it, in nats.

        KL(q_0 || prior), KL(q_1 || q_0), ..., KL(q_T || q_{T-1})

    `q` holds T + 1 laws, such as `DiagNormal`, along a leading axis. Zintgraf et al. 2019,
    equation (9), https://arxiv.org/abs/1910.08348; there is no stop-gradient on q_{t-1}.
    """
    before = jax.tree.map(lambda p, rows: jnp.concatenate([p[None], rows[:-1]]), prior, q)
    return jax.vmap(lambda now, then: now.kl(then).sum())(q, before)


def reconstruction_losses(
    q: Any, decoder_loss: Callable[[Float[Array, " z"]], Float[Array, ""]], *, key: Key
) -> Float[Array, " T"]:
    """-E_{z ~ q_t} log p(trial | z) with one draw, for every belief t = 0, ..., T on the way.

    `decoder_loss(z)` is the negative log-likelihood of the *whole* trial, its future too: that is
    what makes q_t a belief about the task and not a memory of what was seen. Zintgraf et al. 2019,
    equation (8).
    """
    keys = jr.split(key, jax.tree.leaves(q)[0].shape[0])
    return jax.vmap(lambda q, key: decoder_loss(q.sample(key)))(q, keys)
