"""The recurrent encoder: the same place in an algorithm, an order-dependent belief."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from metablocks.dists import DiagNormal
from metablocks.types import Key


class RecurrentEncoder(eqx.Module):
    """q(z | c_{1:N}) = N(mu(h_N), sigma^2(h_N)),  h_n = GRU(h_{n-1}, c_n).

    The memory is the hidden state h. The belief of no data is exactly N(0, I): the head reads
    h, which is zero, and has no bias.

    Rakelly, Zhou et al. 2019, section 6.3 (the recurrent ablation),
    https://arxiv.org/abs/1903.08254.
    """

    embed: tuple[eqx.nn.Linear, ...]
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, in_size: int, z_size: int, *, hidden: tuple[int, ...], key: Key):
        """`hidden`: the widths of the layers that embed a transition, and last the GRU's."""
        k_embed, k_cell, k_head = jr.split(key, 3)
        sizes = (in_size, *hidden[:-1])
        keys = jr.split(k_embed, len(hidden))
        self.embed = tuple(
            eqx.nn.Linear(a, b, key=key) for a, b, key in zip(sizes, sizes[1:], keys, strict=False)
        )
        self.cell = eqx.nn.GRUCell(sizes[-1], hidden[-1], key=k_cell)
        self.head = eqx.nn.Linear(hidden[-1], 2 * z_size, use_bias=False, key=k_head)

    def init(self) -> Float[Array, " h"]:
        """The memory of no data."""
        return jnp.zeros(self.cell.hidden_size)

    def update(
        self, memory: Float[Array, " h"], context: Float[Array, "N c"], mask: Bool[Array, " N"]
    ) -> Float[Array, " h"]:
        """The memory after the rows of `context` that `mask` lets through, in their order."""
        # a masked row may hold anything, and 0 * NaN is NaN, in the gradient too
        context = jnp.where(mask[:, None], context, 0.0)
        for layer in self.embed:
            context = jax.nn.relu(jax.vmap(layer)(context))

        def step(h, row):
            c, keep = row
            return jnp.where(keep, self.cell(c, h), h), None

        memory, _ = jax.lax.scan(step, memory, (context, mask))
        return memory

    def posterior(self, memory: Float[Array, " h"]) -> DiagNormal:
        """q(z | everything in the memory)."""
        mean, log_scale = jnp.split(self.head(memory), 2)
        return DiagNormal(mean, jnp.exp(jnp.clip(log_scale, -10.0, 2.0)))
