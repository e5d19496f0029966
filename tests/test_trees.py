"""The pytree verbs, in closed form."""

import jax.numpy as jnp
import numpy as np
import optax

from metablocks.trees import descend, merge, polyak, take, where


def test_a_slow_copy_moves_a_little_towards_its_source():
    slow, fast = {"w": jnp.array([0.0, 10.0])}, {"w": jnp.array([10.0, 0.0])}
    np.testing.assert_allclose(polyak(slow, fast, tau=0.1)["w"], [1.0, 9.0], rtol=1e-6)
    np.testing.assert_array_equal(polyak(slow, fast, tau=0.0)["w"], slow["w"])


def test_descending_goes_against_the_gradient():
    params = jnp.array([1.0, -2.0])
    optimiser = optax.sgd(0.5)
    params, _ = descend(optimiser, params, optimiser.init(params), jnp.array([2.0, 4.0]))
    np.testing.assert_allclose(params, [0.0, -4.0])


def test_rows_axes_and_choices():
    tree = {"a": jnp.arange(6).reshape(3, 2)}
    np.testing.assert_array_equal(take(tree, jnp.array([2, 0]))["a"], [[4, 5], [0, 1]])
    np.testing.assert_array_equal(merge(tree)["a"], np.arange(6))
    chosen = where(jnp.array([True, False, True]), tree, {"a": -tree["a"]})
    np.testing.assert_array_equal(chosen["a"], [[0, 1], [-2, -3], [4, 5]])
