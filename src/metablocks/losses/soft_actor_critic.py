"""Soft actor-critic for one transition: twin Q with target copies, no separate V network.

PEARL's released code has the older form (Haarnoja et al. 2018a): a V network regressed on
min_i Q_i - log pi, whose slow copy is the bootstrap. The two forms have the same fixed point,
because V(s) = E_a[min_i Q_i(s, a) - alpha log pi(a|s)] is what `soft_value` estimates with one
sample. This form has one network and one regression less per gradient step, and it is the one that
admits the automatic temperature. Every loss is to be minimised and is not reduced; targets carry
their stop-gradient.

Haarnoja et al. 2018b, https://arxiv.org/abs/1812.05905.
"""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
from jax.lax import stop_gradient as sg
from jaxtyping import Array, Float

from metablocks.types import Key

Scalar = Float[Array, ""]


def soft_value(q: Float[Array, " critics"], log_prob: Scalar, *, alpha: Scalar) -> Scalar:
    """One sample's estimate of the soft value, equation (3), with the smallest critic.

    V(s) = min_i Q_i(s, a) - alpha log pi(a|s),    a ~ pi
    """
    return jnp.min(q) - alpha * log_prob


def critic_loss(
    q_tm1: Float[Array, " critics"], r_t: Scalar, discount_t: Scalar, v_t: Scalar
) -> Scalar:
    """The soft Bellman error of every critic, equation (5), summed over critics.

    sum_i 1/2 (Q_i(s, a) - sg[r + discount V(s')])^2
    """
    target = sg(r_t + discount_t * v_t)
    return 0.5 * jnp.sum((q_tm1 - target) ** 2)


def policy_loss(q: Float[Array, " critics"], log_prob: Scalar, *, alpha: Scalar) -> Scalar:
    """Equation (7): alpha log pi(a|s) - min_i Q_i(s, a), with a reparameterised.

    The critics' parameters must be held fixed by the caller; the gradient flows through the
    action.
    """
    return -soft_value(q, log_prob, alpha=sg(alpha))


def temperature_loss(log_alpha: Scalar, log_prob: Scalar, *, target_entropy: float) -> Scalar:
    """Equation (18) in log alpha: -log_alpha sg[log pi(a|s) + target entropy].

    Its gradient lowers the temperature while the policy's entropy, -E log pi, is above its
    target, in nats.
    """
    return -log_alpha * sg(log_prob + target_entropy)


def sac_losses(
    theta: Any,
    target: Any,
    z: Float[Array, " z"],
    obs_tm1: Float[Array, " obs"],
    a_tm1: Float[Array, " act"],
    r_t: Scalar,
    discount_t: Scalar,
    obs_t: Float[Array, " obs"],
    *,
    automatic: bool = False,
    key: Key,
) -> dict[str, Scalar]:
    """The losses of one transition with policy and critics that are conditioned on z.

        critic        sum_i 1/2 (Q_i(s, a, z) - sg[r + discount V(s', z)])^2
        policy        alpha log pi(a|s, sg z) - min_i Q_i(s, a, sg z),    a ~ pi(. | s, sg z)
        temperature   -log_alpha sg[log pi(a|s, z) + target entropy],     target entropy = -dim(a)

    z reaches the critic as it is, so that an encoder can learn from the Bellman error, and only
    from it; an unconditioned agent passes an empty z. The temperature's loss is there where it is
    `automatic`.

    Args:
        theta: has `policy(s, z) -> TanhNormal`, `critic(s, a, z) -> [critics]` and `log_alpha`.
        target: the slow copy of `theta.critic`.
    """
    k_tm1, k_t = jr.split(key)
    held, held_z = sg(theta), sg(z)
    alpha = jnp.exp(held.log_alpha)
    a_t, log_prob_t = held.policy(obs_t, held_z).sample_and_log_prob(k_t)
    v_t = soft_value(target(obs_t, a_t, held_z), log_prob_t, alpha=alpha)
    a_new, log_prob = theta.policy(obs_tm1, held_z).sample_and_log_prob(k_tm1)
    q_new = held.critic(obs_tm1, a_new, held_z)
    losses = {
        "critic": critic_loss(theta.critic(obs_tm1, a_tm1, z), r_t, discount_t, v_t),
        "policy": policy_loss(q_new, log_prob, alpha=alpha),
    }
    if automatic:
        entropy = -float(a_tm1.shape[0])
        losses["temperature"] = temperature_loss(theta.log_alpha, log_prob, target_entropy=entropy)
    return losses
