"""The permutation-invariant encoder of PEARL: a product of Gaussian factors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metablocks.dists import DiagNormal
from metablocks.nets.mlp import MLP
from metablocks.types import Key

Natural = tuple[Float[Array, " z"], Float[Array, " z"]]


class ProductEncoder(eqx.Module):
    """q(z | c) from one Gaussian factor per transition, times the prior.

        q(z | c_{1:N})  proportional to  N(z; 0, I) prod_n N(z; mu(c_n), sigma^2(c_n))

    In natural parameters the product is a sum, Lambda = 1 + sum_n lambda_n and
    Lambda m = sum_n lambda_n mu_n, so the memory is the pair (Lambda, Lambda m): it can be run
    over data in pieces, in any order. The network gives mu and the precision
    lambda = softplus(raw - 3), small at first, so that a long context does not start out certain.

    Rakelly, Zhou et al. 2019, equation (2), https://arxiv.org/abs/1903.08254. Their code leaves the
    prior out of the product and samples it where the context is empty; with the prior as one more
    factor the two cases are one formula.
    """

    mlp: MLP
    z_size: int = eqx.field(static=True)

    def __init__(self, in_size: int, z_size: int, *, hidden: tuple[int, ...], key: Key):
        self.mlp = MLP(in_size, 2 * z_size, hidden, key=key)
        self.z_size = z_size

    def init(self) -> Natural:
        """The memory of no data: the prior's natural parameters."""
        return jnp.ones(self.z_size), jnp.zeros(self.z_size)

    def update(
        self, memory: Natural, context: Float[Array, "N c"], mask: Bool[Array, " N"]
    ) -> Natural:
        """The memory after the rows of `context` that `mask` lets through."""
        precision, shift = memory
        # a masked row may hold anything, and 0 * NaN is NaN, in the gradient too
        context = jnp.where(mask[:, None], context, 0.0)
        mean, raw = jnp.split(jax.vmap(self.mlp)(context), 2, axis=-1)
        factor = jnp.where(mask[:, None], jax.nn.softplus(raw - 3.0), 0.0)
        return precision + factor.sum(axis=0), shift + (factor * mean).sum(axis=0)

    def posterior(self, memory: Natural) -> DiagNormal:
        """q(z | everything in the memory)."""
        precision, shift = memory
        return DiagNormal(shift / precision, jax.lax.rsqrt(precision))
