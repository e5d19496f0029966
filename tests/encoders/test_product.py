"""PEARL's product of Gaussian factors, against closed forms and brute force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from metablocks.encoders.product import ProductEncoder

ENCODER = ProductEncoder(3, 1, hidden=(8,), key=jr.key(0))


def factors(context):
    """Every row's Gaussian factor (mean, precision), by hand."""
    mean, raw = np.split(np.asarray(jax.vmap(ENCODER.mlp)(context)), 2, axis=-1)
    return mean[:, 0], np.log1p(np.exp(raw[:, 0] - 3.0))


def posterior(context, mask=None):
    mask = jnp.ones(len(context), bool) if mask is None else mask
    return ENCODER.posterior(ENCODER.update(ENCODER.init(), context, mask))


@pytest.mark.parametrize("n", [1, 4])
def test_equal_factors_add_their_precisions(n):
    row = jnp.array([[0.3, -1.0, 2.0]])
    (mean,), (precision,) = factors(row)
    q = posterior(jnp.tile(row, (n, 1)))
    np.testing.assert_allclose(q.scale**-2, [1 + n * precision], rtol=1e-5)
    np.testing.assert_allclose(q.mean, [n * precision * mean / (1 + n * precision)], rtol=1e-5)


def test_posterior_is_the_normalised_product_of_densities():
    context = 2 * jr.normal(jr.key(1), (4, 3))
    mask = jnp.array([True, False, True, True])
    z = np.linspace(-8.0, 8.0, 8001)
    density = scipy.stats.norm.pdf(z)
    for keep, mean, precision in zip(mask, *factors(context), strict=True):
        if keep:
            density = density * scipy.stats.norm.pdf(z, mean, precision**-0.5)
    density /= np.trapezoid(density, z)
    q = posterior(context, mask)
    np.testing.assert_allclose(density, scipy.stats.norm.pdf(z, q.mean, q.scale), atol=1e-4)


def test_one_row_is_little_evidence_at_first():
    rows = jr.normal(jr.key(2), (100, 1, 3))
    precision = jax.vmap(lambda row: posterior(row).scale ** -2)(rows) - 1
    assert precision.mean() < 0.1


def test_belief_never_widens_with_data():
    context = 10 * jr.normal(jr.key(3), (4, 3))
    masks = jnp.tril(jnp.ones((4, 4), bool))
    scale = jax.vmap(lambda mask: posterior(context, mask).scale)(masks)
    assert (jnp.diff(scale[:, 0]) < 0).all() and scale[0] < 1


def test_gradient_reaches_every_parameter():
    context = jr.normal(jr.key(4), (4, 3))

    def loss(encoder):
        q = encoder.posterior(encoder.update(encoder.init(), context, jnp.ones(4, bool)))
        return (q.mean**2 + jnp.log(q.scale)).sum()

    grads = jax.grad(loss)(ENCODER)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(eqx.filter(grads, eqx.is_array)))
    assert (grads.mlp.layers[-1].bias != 0).all()  # means and variances alike
