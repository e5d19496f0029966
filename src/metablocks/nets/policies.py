"""Networks that return a distribution over actions."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from metablocks.dists import DiagNormal, TanhNormal
from metablocks.nets.mlp import MLP, glorot
from metablocks.types import Key

LOG_SCALE_MIN, LOG_SCALE_MAX = -20.0, 2.0
LEAST_LOG_SCALE = -13.8


def scale_of(log_scale: Float[Array, " act"]) -> Float[Array, " act"]:
    """sigma, at least 1e-6: log sigma is learned, and may drift."""
    return jnp.exp(jnp.maximum(log_scale, LEAST_LOG_SCALE))


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


class NormalPolicy(eqx.Module):
    """pi(a | s, z) = N(mu(s, z), sigma^2), with a sigma of its own for every axis, at least 1e-6.

    The policy of policy-gradient meta-learning (Finn et al. 2017, Rothfuss et al. 2019). At first
    its mean is zero at the origin: a policy that drifts has no data near where it starts.

    Args:
        obs_size: length of the observation s.
        action_size: length of the action a.
        z_size: length of whatever else the policy is conditioned on; 0 for nothing.
        hidden: widths of the hidden layers.
        activation: between layers.
        log_scale: log sigma at first.
        last_scale: share of Glorot's weights that the last layer starts from.
    """

    mlp: MLP
    log_scale: Float[Array, " act"]

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        z_size: int = 0,
        hidden: tuple[int, ...],
        activation: Callable[[Array], Array] = jnp.tanh,
        log_scale: float = 0.0,
        last_scale: float = 1.0,
        key: Key,
    ):
        mlp = MLP(obs_size + z_size, action_size, hidden, activation=activation, key=key)
        last = lambda mlp: mlp.layers[-1].weight
        self.mlp = eqx.tree_at(last, glorot(mlp, key=key), replace_fn=lambda w: last_scale * w)
        self.log_scale = jnp.full(action_size, log_scale)

    def __call__(
        self, obs: Float[Array, " obs"], z: Float[Array, " z"] | None = None
    ) -> DiagNormal:
        x = obs if z is None else jnp.concatenate([obs, z])
        return DiagNormal(self.mlp(x), scale_of(self.log_scale))
