"""Discounts and returns."""

import jax.numpy as jnp
import numpy as np

from metablocks.losses.returns import discounted_returns, discounts

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
