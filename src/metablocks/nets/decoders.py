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
    action_size: int = eqx.field(static=True)

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(2 * obs_size + action_size + z_size, 1, hidden, key=key)
        self.action_size = action_size

    def pays(self, places: Float[Array, "n obs"], z: Float[Array, " z"]) -> Float[Array, " n"]:
        """The mean reward of staying, without acting, where the observation is each place."""
        rest = jnp.zeros(self.action_size)
        return jax.vmap(lambda at: self.mlp(jnp.concatenate([at, rest, at, z]))[0])(places)

    def loss(self, row: Transition, z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(r | s, a, s', z) with unit variance, up to a constant: 1/2 (r^ - r)^2."""
        x = jnp.concatenate([row.timestep.obs, row.action, row.next_obs, z])
        return 0.5 * (self.mlp(x)[0] - row.reward) ** 2


class _PlaceDecoder(eqx.Module):
    """For every one of n places the probability that it pays, from z alone: n Bernoulli heads."""

    mlp: MLP

    def __call__(self, z: Float[Array, " z"]) -> Float[Array, " n"]:
        """The places' logits."""
        return self.mlp(z)

    def _loss(
        self, place: Float[Array, " n"], reward: Float[Array, ""], z: Float[Array, " z"]
    ) -> Float[Array, ""]:
        logit = place @ self(z)
        return jax.nn.softplus(jnp.where(reward > 0.5, -logit, logit))


class CellDecoder(_PlaceDecoder):
    """Which cells pay: VariBAD's multi-head decoder of the gridworld, p(r_t = 1 | s_{t+1}, z).

    Observations are one-hot cells. The heads depend on z alone: over the rows of a trial under one
    z, `vmap` computes them once.
    """

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(z_size, obs_size, hidden, key=key)

    def loss(self, row: Transition, z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(r pays or not | s', z) = softplus(-l_{s'}) if it pays, else softplus(l_{s'})."""
        return self._loss(row.next_obs, row.reward, z)

    def pays(self, places: Float[Array, "n 2"], z: Float[Array, " z"]) -> Float[Array, " n"]:
        """The probability that each cell pays; the places are the cells, in their order."""
        return jax.nn.sigmoid(self(z))


class ArmDecoder(_PlaceDecoder):
    """Which arms pay: the same for a bandit, whose one-hot actions are the places."""

    def __init__(
        self, obs_size: int, action_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key
    ):
        self.mlp = MLP(z_size, action_size, hidden, key=key)

    def loss(self, row: Transition, z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(r pays or not | a, z) = softplus(-l_a) if it pays, else softplus(l_a)."""
        return self._loss(row.action, row.reward, z)


class TaskDecoder(eqx.Module):
    """The mean of p(mu | z): the privileged task vector."""

    mlp: MLP

    def __init__(self, descriptor_size: int, *, z_size: int, hidden: tuple[int, ...], key: Key):
        self.mlp = MLP(z_size, descriptor_size, hidden, key=key)

    def loss(self, descriptor: Float[Array, " d"], z: Float[Array, " z"]) -> Float[Array, ""]:
        """-log p(mu | z) with unit variances, up to a constant: 1/2 |mu^ - mu|^2."""
        return 0.5 * jnp.sum((self.mlp(z) - descriptor) ** 2)


DECODERS = {
    "cells": CellDecoder,
    "arms": ArmDecoder,
    "reward": RewardDecoder,
    "transition": TransitionDecoder,
}
"""What a belief may be asked to predict of a step: all are made and called alike."""
