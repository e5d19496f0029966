"""Networks that predict a world's reward and next state from what is believed of the task."""

import equinox as eqx
import jax
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


class RewardDecoder(eqx.Module):
    """The mean of p(r | s, a, s', z)."""

    mlp: MLP

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(2 * obs_size + action_size + z_size, 1, hidden, key=key)

    def loss(self, row: Transition, z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(r | s, a, s', z) with unit variance, up to a constant: 1/2 (r^ - r)^2."""
        x = jnp.concatenate([row.timestep.obs, row.action, row.next_obs, z])
        return 0.5 * (self.mlp(x)[0] - row.reward) ** 2


class CountingRewardDecoder(eqx.Module):
    """For every one of n places the probability that it pays, from z alone: n Bernoulli heads.

    VariBAD's multi-head decoder of the gridworld, where a place is a cell; of a bandit it is an
    arm.
    """

    mlp: MLP

    def __init__(self, num_places: int, *, z_size: int, hidden: tuple[int, ...], key: Key):
        self.mlp = MLP(z_size, num_places, hidden, key=key)

    def __call__(self, z: Float[Array, " z"]) -> Float[Array, " n"]:
        """The places' logits."""
        return self.mlp(z)

    def trajectory_loss(
        self, places: Float[Array, "T n"], rewards: Float[Array, " T"], z: Float[Array, " z"]
    ) -> Float[Array, ""]:
        """-sum_t log p(r_t pays | place_t, z), of places that are given one-hot.

            sum_n hits_n softplus(-l_n) + (visits_n - hits_n) softplus(l_n)

        A sum over steps is one over places: all that counts is how often each was visited, and
        paid.
        """
        paid = (rewards > 0.5).astype(jnp.float32)
        visits, hits, logits = places.sum(axis=0), paid @ places, self(z)
        return jnp.sum(hits * jax.nn.softplus(-logits) + (visits - hits) * jax.nn.softplus(logits))


class TaskDecoder(eqx.Module):
    """The mean of p(mu | z): the privileged task vector."""

    mlp: MLP

    def __init__(self, descriptor_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key):
        self.mlp = MLP(z_size, descriptor_size, hidden, key=key)

    def loss(self, descriptor: Float[Array, " d"], z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(mu | z) with unit variances, up to a constant: 1/2 |mu^ - mu|^2."""
        return 0.5 * jnp.sum((self.mlp(z) - descriptor) ** 2)
