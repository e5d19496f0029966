"""Soft actor-critic for one transition: twin Q with target copies, no separate V network.

PEARL's released code has the older form (Haarnoja et al. 2018a): a V network regressed on
min_i Q_i - log pi, whose slow copy is the bootstrap. The two forms have the same fixed point,
because V(s) = E_a[min_i Q_i(s, a) - alpha log pi(a|s)] is what `soft_value` estimates with one
sample. This form has one network and one regression less per gradient step, and it is the one that
admits the automatic temperature. Every loss is to be minimised and is not reduced; targets carry
their stop-gradient.

Haarnoja et al. 2018b, https://arxiv.org/abs/1812.05905.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
    target = jax.lax.stop_gradient(r_t + discount_t * v_t)
    return 0.5 * jnp.sum((q_tm1 - target) ** 2)


def policy_loss(q: Float[Array, " critics"], log_prob: Scalar, *, alpha: Scalar) -> Scalar:
    """Equation (7): alpha log pi(a|s) - min_i Q_i(s, a), with a reparameterised.

    The critics' parameters must be held fixed by the caller; the gradient flows through the
    action.
    """
    return -soft_value(q, log_prob, alpha=jax.lax.stop_gradient(alpha))


def temperature_loss(log_alpha: Scalar, log_prob: Scalar, *, target_entropy: float) -> Scalar:
    """Equation (17) in log alpha: -log_alpha sg[log pi(a|s) + target entropy].

    Its gradient lowers the temperature while the policy's entropy, -E log pi, is above its
    target, in nats.
    """
    return -log_alpha * jax.lax.stop_gradient(log_prob + target_entropy)
