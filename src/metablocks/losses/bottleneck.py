"""The variational information bottleneck on a latent task variable."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def bottleneck_loss(kl: Float[Array, " d"], *, free_bits: float = 0.0) -> Float[Array, ""]:
    """What a posterior tells beyond its prior, in nats, free of charge up to a floor.

        sum_i max(KL(q_i || p_i), free_bits)

    `kl` is KL(q_i || p_i) of every dimension [d], as `DiagNormal.kl` gives it. `free_bits` is the
    number of nats per dimension that cost nothing (Kingma et al. 2016,
    https://arxiv.org/abs/1606.04934, appendix C.8); with 0 this is KL(q || p), the bottleneck of
    Alemi et al. 2017, https://arxiv.org/abs/1612.00410, and of PEARL's equation (1). The weight
    is the caller's.
    """
    return jnp.sum(jnp.maximum(kl, free_bits))
