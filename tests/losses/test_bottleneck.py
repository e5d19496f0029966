"""The variational bottleneck and its free bits."""

import jax
import jax.numpy as jnp
import numpy as np

from metablocks.dists import DiagNormal, standard_normal
from metablocks.losses.bottleneck import bottleneck_loss

# KL per dimension: 0.5 mean^2 = 0.02, 0.5, 2
Q = DiagNormal(jnp.array([0.2, 1.0, 2.0]), jnp.ones(3))


def test_without_free_bits_it_is_the_kl():
    np.testing.assert_allclose(bottleneck_loss(Q.kl(standard_normal(3))), 2.52, rtol=1e-6)


def test_dimensions_under_the_floor_cost_the_floor_and_get_no_gradient():
    def loss(mean, **options):
        return bottleneck_loss(DiagNormal(mean, Q.scale).kl(standard_normal(3)), **options)

    value, slope = jax.value_and_grad(loss)(Q.mean, free_bits=0.3)
    np.testing.assert_allclose(value, 0.3 + 0.5 + 2.0, rtol=1e-6)
    np.testing.assert_allclose(slope, [0.0, 1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(Q.mean), Q.mean, rtol=1e-6)
