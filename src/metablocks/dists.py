"""Distributions as pytrees of arrays only, one event each: what crosses a `scan` or a `vmap`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int

from metablocks.types import Key

LOG_2PI = 1.8378770664093453
LARGEST_TANH = 1.0 - 2.0**-23
"""Where densities of given actions are held: the last float32 but one below tanh's asymptote."""


class DiagNormal(eqx.Module):
    """N(mean, diag(scale^2)) over vectors [d]."""

    mean: Float[Array, " d"]
    scale: Float[Array, " d"]

    def sample(self, key: Key) -> Float[Array, " d"]:
        """mean + scale * epsilon, reparameterised."""
        return self.mean + self.scale * jr.normal(key, self.mean.shape)

    def log_prob(self, value: Float[Array, " d"]) -> Float[Array, ""]:
        """-1/2 sum_i [ ((x_i - mu_i) / sigma_i)^2 + 2 log sigma_i + log 2 pi ]."""
        standard = (value - self.mean) / self.scale
        return -0.5 * jnp.sum(standard**2 + 2 * jnp.log(self.scale) + LOG_2PI)

    def entropy(self) -> Float[Array, ""]:
        """sum_i log sigma_i + d/2 (1 + log 2 pi), in nats."""
        return jnp.sum(jnp.log(self.scale) + 0.5 * (1.0 + LOG_2PI))

    def kl(self, other: "DiagNormal") -> Float[Array, " d"]:
        """KL(self || other) of every dimension [d], in nats; their sum is that of the vectors.

        log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2
        """
        ratio = self.scale / other.scale
        gap = (self.mean - other.mean) / other.scale
        return 0.5 * (ratio**2 + gap**2 - 1.0) - jnp.log(ratio)

    def mode(self) -> Float[Array, " d"]:
        """The mean."""
        return self.mean


def standard_normal(dim: int) -> DiagNormal:
    """N(0, I) over vectors [dim]."""
    return DiagNormal(jnp.zeros(dim), jnp.ones(dim))


class TanhNormal(eqx.Module):
    """a = tanh(u), u ~ N(mean, diag(scale^2)): actions in (-1, 1)^d.

    Haarnoja et al. 2018, appendix C, https://arxiv.org/abs/1801.01290.
    """

    mean: Float[Array, " d"]
    scale: Float[Array, " d"]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """A reparameterised action and its log-density, computed from u: exact also where tanh
        saturates."""
        noise = jr.normal(key, self.mean.shape)
        u = self.mean + self.scale * noise
        normal = -0.5 * jnp.sum(noise**2 + 2 * jnp.log(self.scale) + LOG_2PI)
        return jnp.tanh(u), normal - jnp.sum(log_tanh_slope(u))

    def sample(self, key: Key) -> Float[Array, " d"]:
        """A reparameterised action."""
        return jnp.tanh(self.mean + self.scale * jr.normal(key, self.mean.shape))

    def log_prob(self, action: Float[Array, " d"]) -> Float[Array, ""]:
        """log N(u; mean, scale) - sum_i log(1 - tanh(u_i)^2), u = artanh(a).

        |a| is held below 1 - 2^-23, so that the density is finite at the boundary in float32.
        """
        u = jnp.arctanh(jnp.clip(action, -LARGEST_TANH, LARGEST_TANH))
        return DiagNormal(self.mean, self.scale).log_prob(u) - jnp.sum(log_tanh_slope(u))

    def mode(self) -> Float[Array, " d"]:
        """tanh(mean): the deterministic action (the image of u's mode)."""
        return jnp.tanh(self.mean)


def log_tanh_slope(u: Float[Array, " d"]) -> Float[Array, " d"]:
    """log d tanh(u) / du = 2 (log 2 - u - softplus(-2u)), stable for every u."""
    return 2.0 * (jnp.log(2.0) - u - jax.nn.softplus(-2.0 * u))


class Categorical(eqx.Module):
    """One of n, with probabilities softmax(logits)."""

    logits: Float[Array, " n"]

    def sample(self, key: Key) -> Int[Array, ""]:
        """An index."""
        return jr.categorical(key, self.logits)

    def log_prob(self, value: Int[Array, ""]) -> Float[Array, ""]:
        """log softmax(logits)[value]."""
        return jax.nn.log_softmax(self.logits)[value]

    def entropy(self) -> Float[Array, ""]:
        """-sum_i p_i log p_i, in nats."""
        log_probs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs)

    def kl(self, other: "Categorical") -> Float[Array, ""]:
        """KL(self || other) = sum_i p_i log(p_i / q_i), in nats."""
        log_probs = jax.nn.log_softmax(self.logits)
        gap = log_probs - jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(log_probs) * gap)

    def mode(self) -> Int[Array, ""]:
        """The most likely index."""
        return jnp.argmax(self.logits)
