"""Networks that judge states and actions."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.nets.mlp import MLP
from metablocks.types import Key


class TwinCritic(eqx.Module):
    """Two independent action values, [Q_1(s, a, z), Q_2(s, a, z)].

    Two separate networks rather than one stacked pair: XLA's batched product is slower on a CPU
    than two plain ones (`benchmarks/gradient_step.py`).
    """

    mlps: tuple[MLP, MLP]

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int = 0, hidden: tuple[int, ...], key: Key
    ):
        in_size = obs_size + action_size + z_size
        k_1, k_2 = jr.split(key)
        self.mlps = (MLP(in_size, 1, hidden, key=k_1), MLP(in_size, 1, hidden, key=k_2))

    def __call__(
        self, obs: Float[Array, " obs"], action: Float[Array, " act"], z: Float[Array, " z"]
    ) -> Float[Array, " 2"]:
        x = jnp.concatenate([obs, action, z])
        return jnp.concatenate([mlp(x) for mlp in self.mlps])
