"""Networks that return a distribution over actions."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from metablocks.dists import TanhNormal
from metablocks.nets.mlp import MLP
from metablocks.types import Key

LOG_SCALE_MIN, LOG_SCALE_MAX = -20.0, 2.0


class TanhNormalPolicy(eqx.Module):
    """pi(a | s, z) = tanh N(mu(s, z), sigma(s, z)^2), with log sigma in [-20, 2].

    Args:
        obs_size: length of the observation s.
        action_size: length of the action a.
        z_size: length of whatever else the policy is conditioned on; 0 for nothing.
        hidden: widths of the hidden layers.
    """

    mlp: MLP

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int = 0, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(obs_size + z_size, 2 * action_size, hidden, key=key)

    def __call__(self, obs: Float[Array, " obs"], z: Float[Array, " z"]) -> TanhNormal:
        mean, log_scale = jnp.split(self.mlp(jnp.concatenate([obs, z])), 2)
        return TanhNormal(mean, jnp.exp(jnp.clip(log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)))
