"""The networks of a soft actor-critic in one record."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.nets.critics import TwinCritic
from metablocks.nets.policies import TanhNormalPolicy
from metablocks.types import Key


class SoftActorCritic(eqx.Module):
    """pi(a | s, z), [Q_1(s, a, z), Q_2(s, a, z)] and log alpha.

    Args:
        obs_size: length of the observation s.
        action_size: length of the action a.
        z_size: length of what both are conditioned on; 0 for nothing.
        hidden: widths of the hidden layers of each network.
        alpha: the (first) temperature.
    """

    policy: TanhNormalPolicy
    critic: TwinCritic
    log_alpha: Float[Array, ""]

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        z_size: int = 0,
        hidden: tuple[int, ...],
        alpha: float,
        key: Key,
    ):
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        k_policy, k_critic = jr.split(key)
        self.policy = TanhNormalPolicy(
            obs_size, action_size, z_size=z_size, hidden=hidden, key=k_policy
        )
        self.critic = TwinCritic(obs_size, action_size, z_size=z_size, hidden=hidden, key=k_critic)
        self.log_alpha = jnp.log(jnp.asarray(alpha, jnp.float32))
