"""The recurrent encoder: the same place in an algorithm, an order-dependent belief."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from metablocks.dists import DiagNormal
from metablocks.nets.recurrent import GRU
from metablocks.types import Key


class RecurrentEncoder(eqx.Module):
    """q(z | c_{1:N}) = N(mu(h_N), sigma^2(h_N)),  h_n = GRU(h_{n-1}, c_n).

    The memory is the hidden state h, zero where there are no data. Then the belief is N(0, I),
    because the head has no bias, or with `learned_prior` whatever its bias says (VariBAD).

    Rakelly, Zhou et al. 2019, section 6.3 (the recurrent ablation),
    https://arxiv.org/abs/1903.08254; Zintgraf et al. 2019, https://arxiv.org/abs/1910.08348.
    """

    embed: tuple[eqx.nn.Linear, ...]
    gru: GRU
    head: eqx.nn.Linear

    def __init__(
        self,
        in_size: int,
        z_size: int,
        *,
        hidden: tuple[int, ...],
        learned_prior: bool = False,
        key: Key,
    ):
        """`hidden`: the widths of the layers that embed a transition, and last the GRU's."""
        k_embed, k_gru, k_head = jr.split(key, 3)
        sizes = (in_size, *hidden[:-1])
        keys = jr.split(k_embed, len(hidden))
        self.embed = tuple(
            eqx.nn.Linear(a, b, key=key) for a, b, key in zip(sizes, sizes[1:], keys, strict=False)
        )
        self.gru = GRU(sizes[-1], hidden[-1], key=k_gru)
        self.head = eqx.nn.Linear(hidden[-1], 2 * z_size, use_bias=learned_prior, key=k_head)

    def init(self) -> Float[Array, " h"]:
        """The memory of no data."""
        return self.gru.init()

    def update(
        self, memory: Float[Array, " h"], context: Float[Array, "N c"], mask: Bool[Array, " N"]
    ) -> Float[Array, " h"]:
        """The memory after the rows of `context` that `mask` lets through, in their order."""
        # a masked row may hold anything, and 0 * NaN is NaN, in the gradient too
        context = jnp.where(mask[:, None], context, 0.0)
        return self.gru.unroll(memory, self._embedded(context), mask)[0]

    def unroll(
        self, context: Float[Array, "T c"], mask: Bool[Array, " T"] | None = None
    ) -> DiagNormal:
        """Every belief on the way, q_0 of no data to q_T of all: a batch of T + 1 laws.

        A masked row changes no belief.
        """
        first = self.init()
        _, memories = self.gru.unroll(first, self._embedded(context), mask)
        return jax.vmap(self.posterior)(jnp.concatenate([first[None], memories]))

    def posterior(self, memory: Float[Array, " h"]) -> DiagNormal:
        """q(z | everything in the memory)."""
        mean, log_scale = jnp.split(self.head(memory), 2)
        return DiagNormal(mean, jnp.exp(jnp.clip(log_scale, -10.0, 2.0)))

    def _embedded(self, context: Float[Array, "N c"]) -> Float[Array, "N e"]:
        for layer in self.embed:
            context = jax.nn.relu(jax.vmap(layer)(context))
        return context
