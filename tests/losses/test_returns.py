"""Discounts and returns."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.losses.returns import (
    credited_rewards,
    discounted_returns,
    discounts,
    generalised_advantages,
    without_gaps,
)

REWARD = jnp.array([1.0, -2.0, 0.5, 4.0, 1.0])


def test_only_termination_cuts():
    terminated = jnp.array([[False, True], [True, False]])
    np.testing.assert_allclose(discounts(terminated, gamma=0.9), [[0.9, 0.0], [0.0, 0.9]])


def test_returns_equal_a_double_loop():
    discount = jnp.array([0.9, 0.5, 0.0, 0.8, 0.7])
    expected = []
    for t in range(5):
        weight, g = 1.0, 0.0
        for s in range(t, 5):
            g += weight * float(REWARD[s])
            weight *= float(discount[s])
        expected.append(g + weight * 10.0)
    actual = discounted_returns(REWARD, discount, bootstrap=jnp.array(10.0))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_undiscounted_return_is_the_sum():
    returns = discounted_returns(REWARD, jnp.ones(5), bootstrap=jnp.array(0.0))
    np.testing.assert_allclose(returns, np.cumsum(REWARD[::-1])[::-1], rtol=1e-6)


def test_e_rl2_credits_nothing_of_its_exploration_and_all_the_rest():
    reward = jnp.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(credited_rewards(reward, explore_steps=2), [0, 0, 3, 4])
    np.testing.assert_array_equal(credited_rewards(reward, explore_steps=0), reward)


def test_advantages_without_gaps_are_those_of_the_trial_with_the_gaps_cut_out():
    live = jnp.array([True, False, False, True, True, False])
    reward, value = jr.normal(jr.key(0), (6,)), jr.normal(jr.key(1), (6,))
    discount, filled, lam = without_gaps(live, jnp.full(6, 0.9), value, lam=0.8)
    end = jnp.zeros(())
    told = generalised_advantages(live * reward, discount, filled, lam=lam, bootstrap=end)
    cut = generalised_advantages(
        reward[live], jnp.full(3, 0.9), value[live], lam=0.8, bootstrap=end
    )
    np.testing.assert_allclose(told[live], cut, rtol=1e-5)
