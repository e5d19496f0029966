"""Networks that predict a world's reward and next state from what is believed of the task."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from metablocks.nets.mlp import MLP
from metablocks.types import Key, Transition


class TransitionDecoder(eqx.Module):
    """The means of p(r, s' | s, a, z): the reward and the next observation."""

    mlp: MLP

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(obs_size + action_size + z_size, 1 + obs_size, hidden, key=key)

    def __call__(
        self, obs: Float[Array, " obs"], action: Float[Array, " act"], z: Float[Array, " z"]
    ) -> tuple[Float[Array, ""], Float[Array, " obs"]]:
        out = self.mlp(jnp.concatenate([obs, action, z]))
        return out[0], obs + out[1:]

    def loss(self, row: Transition, z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(r, s' | s, a, z) with unit variances, up to a constant.

        1/2 (r^ - r)^2 + 1/2 |s'^ - s'|^2
        """
        reward, next_obs = self(row.timestep.obs, row.action, z)
        return 0.5 * ((reward - row.reward) ** 2 + jnp.sum((next_obs - row.next_obs) ** 2))
