"""Discount arrays and returns along one trajectory [T]."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def discounts(terminated: Bool[Array, "*T"], *, gamma: float) -> Float[Array, "*T"]:
    """discount_t = gamma (1 - terminated_t).

    Only the MDP's own end cuts a bootstrap; a time limit never does.
    """
    return gamma * (1.0 - terminated.astype(jnp.float32))


def discounted_returns(
    r_t: Float[Array, " T"], discount_t: Float[Array, " T"], *, bootstrap: Float[Array, ""]
) -> Float[Array, " T"]:
    """The return from every step on.

    G_t = r_t + discount_t G_{t+1},    G_T = bootstrap
    """

    def backwards(g, step):
        r, discount = step
        g = r + discount * g
        return g, g

    _, g = jax.lax.scan(backwards, bootstrap, (r_t, discount_t), reverse=True)
    return g


def generalised_advantages(
    r_t: Float[Array, " T"],
    discount_t: Float[Array, " T"],
    v_tm1: Float[Array, " T"],
    *,
    lam: float | Float[Array, " T"],
    bootstrap: Float[Array, ""],
) -> Float[Array, " T"]:
    """Exponentially weighted sums of the temporal-difference errors.

        A_t = delta_t + discount_t lam A_{t+1},    delta_t = r_t + discount_t V_{t+1} - V_t

    The array `discount_t` says what a return is: cut at episode ends it is the episode's; never
    cut, with the trial's end as the last step, it is the *trial's*, so that what is learned in one
    episode earns the reward of the next (RL2).

    Args:
        v_tm1: V of the states that the steps start from.
        lam: 0 trusts V after one step, 1 not at all.
        bootstrap: V_T of the state after the last step; 0 where the last step ends everything.

    Schulman et al. 2016, equation (16), https://arxiv.org/abs/1506.02438.
    """
    v_t = jnp.append(v_tm1[1:], bootstrap)
    delta = r_t + discount_t * v_t - v_tm1
    return discounted_returns(delta, lam * discount_t, bootstrap=jnp.zeros_like(bootstrap))


def without_gaps(
    live: Bool[Array, " T"],
    discount_t: Float[Array, " T"],
    v_tm1: Float[Array, " T"],
    *,
    lam: float,
) -> tuple[Float[Array, " T"], Float[Array, " T"], Float[Array, " T"]]:
    """(discount, V, lambda) with which steps that are not live do not count in the time of a trial.

    There discount = lambda = 1 and V is the next live step's, 0 at the end: the advantages of the
    live steps are those of the trial with the others cut out.
    """

    def backwards(after: Array, step: tuple[Array, Array]):
        alive, value = step
        value = jnp.where(alive, value, after)
        return value, value

    _, value = jax.lax.scan(backwards, jnp.zeros(()), (live, v_tm1), reverse=True)
    return jnp.where(live, discount_t, 1.0), value, jnp.where(live, lam, 1.0)


def credited_rewards(r_t: Float[Array, " T"], *, explore_steps: int) -> Float[Array, " T"]:
    """E-RL2's rewards of a trial: what the first steps earn is not credited to anything.

        r_t = 0  for  t < explore_steps

    Stadie et al. 2018, https://arxiv.org/abs/1803.01118.
    """
    return jnp.where(jnp.arange(len(r_t)) < explore_steps, 0.0, r_t)
