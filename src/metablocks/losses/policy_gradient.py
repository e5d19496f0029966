"""Policy-gradient losses of one step: what is minimised is not reduced, and advantages are data."""

import jax.numpy as jnp
from jax.lax import stop_gradient as sg
from jaxtyping import Array, Bool, Float

Scalar = Float[Array, ""]


def policy_gradient_loss(log_prob: Scalar, advantage: Scalar) -> Scalar:
    """The actor of A2C, and REINFORCE where the advantage is a return.

        -log pi(a|s) sg[A]

    Mnih et al. 2016, https://arxiv.org/abs/1602.01783.
    """
    return -log_prob * sg(advantage)


def ppo_clip_loss(
    log_prob: Scalar, behaviour_log_prob: Scalar, advantage: Scalar, *, epsilon: float
) -> Scalar:
    """The clipped surrogate.

        -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A),    rho = pi(a|s) / mu(a|s)

    Schulman et al. 2017, equation (7), https://arxiv.org/abs/1707.06347.
    """
    rho = jnp.exp(log_prob - sg(behaviour_log_prob))
    advantage = sg(advantage)
    clipped = jnp.clip(rho, 1.0 - epsilon, 1.0 + epsilon)
    return -jnp.minimum(rho * advantage, clipped * advantage)


def value_loss(
    value: Scalar, target: Scalar, *, behaviour_value: Scalar | None = None, epsilon: float = 0.2
) -> Scalar:
    """Half the squared error, or with `behaviour_value` the larger of that and a clipped one's.

    1/2 (V - sg[G])^2,    1/2 max((V - G)^2, (V_mu + clip(V - V_mu, -epsilon, epsilon) - G)^2)
    """
    target = sg(target)
    error = jnp.square(value - target)
    if behaviour_value is not None:
        held = sg(behaviour_value)
        near = held + jnp.clip(value - held, -epsilon, epsilon)
        error = jnp.maximum(error, jnp.square(near - target))
    return 0.5 * error


def standardised(
    advantages: Float[Array, "*axes"], *, where: Bool[Array, "*axes"] | None = None
) -> Float[Array, "*axes"]:
    """(A - mean A) / (std A + 1e-8), mean and deviation over all axes, of those `where` names."""
    mean, std = advantages.mean(where=where), advantages.std(where=where)
    return (advantages - mean) / (std + 1e-8)


def adaptive_coef(coef: Scalar, divergence: Scalar, *, target: float) -> Scalar:
    """The weight of a KL penalty, moved so that the KL stays near a target.

    half where KL < target / 1.5,    twice where KL > 1.5 target,    at least 1e-6

    Schulman et al. 2017, section 4, https://arxiv.org/abs/1707.06347.
    """
    small, large = divergence < target / 1.5, divergence > 1.5 * target
    moved = coef * jnp.where(small, 0.5, jnp.where(large, 2.0, 1.0))
    return jnp.maximum(moved, 1e-6)  # from zero it would never come back
