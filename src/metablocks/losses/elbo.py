"""The evidence lower bound of a trial: every belief on the way explains past and future."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from metablocks.trees import take
from metablocks.types import Key


def kl_chain(q: Any, prior: Any) -> Float[Array, " T"]:
    """What every belief tells beyond the one before it, in nats.

        KL(q_0 || prior), KL(q_1 || q_0), ..., KL(q_T || q_{T-1})

    `q` holds T + 1 laws, such as `DiagNormal`, along a leading axis. Zintgraf et al. 2020,
    section 3.1, https://arxiv.org/abs/1910.08348; there is no stop-gradient on q_{t-1}.
    """
    before = jax.tree.map(lambda p, rows: jnp.concatenate([p[None], rows[:-1]]), prior, q)
    return jax.vmap(lambda now, then: now.kl(then).sum())(q, before)


def reconstruction_loss(
    q: Any,
    decoder_loss: Callable[[Float[Array, " z"]], Float[Array, ""]],
    *,
    terms: int | None = None,
    where: Bool[Array, " T_and_1"] | None = None,
    key: Key,
) -> Float[Array, ""]:
    """What every belief on the way, t = 0, ..., T, leaves unexplained of the trial, summed.

        - sum_{t=0}^T E_{z ~ q_t} log p(trial | z),    one z each

    `decoder_loss(z)` is the negative log-likelihood of the *whole* trial, its future too: that is
    what makes q_t a belief about the task and not a memory of what was seen. Zintgraf et al. 2020,
    section 3.1, https://arxiv.org/abs/1910.08348.

    Args:
        q: T + 1 laws, such as `DiagNormal`, along a leading axis.
        decoder_loss: z -> -log p(trial | z).
        terms: how many beliefs, drawn without replacement, stand for all that count; the sum
            is scaled up to theirs.
        where: which beliefs count; those that follow a step of no episode repeat the one before.

    Raises:
        ValueError: there are fewer beliefs than terms.
    """
    k_terms, k_draw = jr.split(key)
    num = jax.tree.leaves(q)[0].shape[0]
    counted = jnp.ones(num, bool) if where is None else where
    count = counted.sum()
    if terms is not None:
        if terms > num:
            raise ValueError(f"terms must be at most the {num} beliefs of a trial, got {terms}")
        drawn = jr.choice(k_terms, num, (terms,), replace=False, p=counted / count)
        q, counted = take((q, counted), drawn)  # with fewer that count than terms, all of them
    keys = jr.split(k_draw, len(counted))
    losses = jax.vmap(lambda q, key: decoder_loss(q.sample(key)))(q, keys)
    return count * jnp.mean(losses, where=counted)
