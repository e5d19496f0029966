"""Actors with their critics, in one record."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.dists import Categorical, DiagNormal
from metablocks.nets.critics import TwinCritic
from metablocks.nets.mlp import MLP
from metablocks.nets.policies import TanhNormalPolicy, scale_of
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


class Head(eqx.Module):
    """A linear map from features to a distribution over actions, near the same for all at first.

    Args:
        discrete: whether `num_actions` counts the actions, or the entries of a real vector, whose
            distribution is N(mu(x), sigma^2) with a sigma of its own.
        log_scale: log sigma at first; sigma is at least 1e-6.

    Raises:
        ValueError: discrete actions are given a log sigma.
    """

    linear: eqx.nn.Linear
    log_scale: Float[Array, " d"] | None

    def __init__(
        self, in_size: int, num_actions: int, *, discrete: bool, log_scale: float = 0.0, key: Key
    ):
        if discrete and log_scale:
            raise ValueError(
                f"log_scale is {log_scale}, but discrete actions have none: leave it out"
            )
        linear = eqx.nn.Linear(in_size, num_actions, key=key)
        self.linear = eqx.tree_at(lambda net: net.weight, linear, replace_fn=lambda w: 0.01 * w)
        self.log_scale = None if discrete else jnp.full(num_actions, log_scale)

    def __call__(self, x: Float[Array, " x"]) -> Categorical | DiagNormal:
        if self.log_scale is None:
            return Categorical(self.linear(x))
        return DiagNormal(self.linear(x), scale_of(self.log_scale))


class ActorCritic(eqx.Module):
    """pi(a | x) and V(x), two networks, from features x.

    Args:
        in_size: length of x.
        num_actions: how many actions there are, or the length of a real action.
        discrete: which of the two.
        hidden: widths of the hidden layers of each network, with tanh between them.
        log_scale: log sigma of a real action at first.

    Raises:
        ValueError: discrete actions are given a log sigma.
    """

    body: MLP
    policy: Head
    value: MLP

    def __init__(
        self,
        in_size: int,
        num_actions: int,
        *,
        discrete: bool,
        hidden: tuple[int, ...],
        log_scale: float = 0.0,
        key: Key,
    ):
        k_body, k_policy, k_value = jr.split(key, 3)
        *first, last = hidden
        self.body = MLP(in_size, last, tuple(first), activation=jnp.tanh, key=k_body)
        self.policy = Head(last, num_actions, discrete=discrete, log_scale=log_scale, key=k_policy)
        self.value = MLP(in_size, 1, hidden, activation=jnp.tanh, key=k_value)

    def __call__(self, x: Float[Array, " x"]) -> tuple[Categorical | DiagNormal, Float[Array, ""]]:
        return self.policy(jnp.tanh(self.body(x))), self.value(x)[0]
