"""The distributions against quadrature, scipy and one another."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
import scipy.stats

from metablocks.dists import Categorical, DiagNormal, TanhNormal, standard_normal

MEAN, SCALE = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.5, 1.5, 0.1])


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.7, 0.3), (-1.5, 0.8)])
def test_tanh_normal_integrates_to_one(mean, scale):
    # a = tanh(u) on an even grid of u, which resolves the boundary
    u = np.linspace(-7.0, 7.0, 4001)
    a = np.tanh(u)
    dist = TanhNormal(jnp.array([mean]), jnp.array([scale]))
    density = np.exp(jax.vmap(dist.log_prob)(jnp.asarray(a, jnp.float32)[:, None]))
    np.testing.assert_allclose(np.trapezoid(density, a), 1.0, atol=2e-3)


def test_tanh_normal_is_finite_up_to_the_boundary():
    dist = TanhNormal(jnp.array([0.5]), jnp.array([1.0]))
    edge = jnp.float32([-1.0, -1 + 1e-6, 0.999, 1 - 6e-8, 1.0])[:, None]
    value, slope = jax.vmap(jax.value_and_grad(dist.log_prob))(edge)
    assert jnp.isfinite(value).all() and jnp.isfinite(slope[1:3]).all()
    grads = jax.vmap(jax.grad(lambda d, a: d.log_prob(a)), (None, 0))(dist, edge)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_tanh_normal_log_prob_is_exact_where_tanh_saturates():
    dist = TanhNormal(jnp.array([12.0]), jnp.array([0.5]))
    action, log_prob = dist.sample_and_log_prob(jr.key(0))
    u = 12.0 + 0.5 * float(jr.normal(jr.key(0), (1,))[0])
    # log(1 - tanh(u)^2) = -2 log cosh u
    exact = scipy.stats.norm.logpdf(u, 12.0, 0.5) + 2 * (u + np.log1p(np.exp(-2 * u)) - np.log(2))
    assert action > 1 - 2**-22  # 1, or the number before it
    np.testing.assert_allclose(log_prob, exact, rtol=1e-5)


def test_tanh_normal_samples_carry_their_own_log_prob():
    dist = TanhNormal(MEAN / 2, SCALE)
    keys = jr.split(jr.key(0), 200)
    actions, log_probs = jax.vmap(dist.sample_and_log_prob)(keys)
    np.testing.assert_array_equal(actions, jax.vmap(dist.sample)(keys))
    # float32 holds 1 - |a| to 6e-8: compare where that is enough
    inside = jnp.abs(actions).max(axis=1) < 0.999
    assert inside.sum() > 50
    again = jax.vmap(dist.log_prob)(actions)
    np.testing.assert_allclose(again[inside], log_probs[inside], atol=2e-2)
    np.testing.assert_allclose(dist.mode(), np.tanh(MEAN / 2), rtol=1e-6)


def test_diag_normal_is_scipys():
    dist, scipys = DiagNormal(MEAN, SCALE), scipy.stats.norm(MEAN, SCALE)
    for value in ([0.0, 0.0, 0.0], [1.0, -3.0, 2.05]):
        expected = scipys.logpdf(value).sum()
        np.testing.assert_allclose(dist.log_prob(jnp.array(value)), expected, rtol=1e-5)
    np.testing.assert_allclose(dist.entropy(), scipys.entropy().sum(), rtol=1e-5)
    np.testing.assert_array_equal(dist.mode(), MEAN)


def test_diag_normal_samples_follow_it():
    dist = DiagNormal(MEAN, SCALE)
    draws = np.asarray(jax.vmap(dist.sample)(jr.split(jr.key(0), 2000)))
    for i in range(3):
        fit = scipy.stats.kstest(draws[:, i], scipy.stats.norm(MEAN[i], SCALE[i]).cdf)
        assert fit.pvalue > 1e-3
    correlations = np.corrcoef(draws.T) - np.eye(3)
    assert np.abs(correlations).max() < 0.1


def test_kl_is_the_integral_of_the_log_ratio():
    p, q = DiagNormal(MEAN, SCALE), DiagNormal(jnp.array([0.0, 1.0, 1.9]), jnp.array([1.0, 2, 0.2]))
    x = np.linspace(-12.0, 12.0, 40001)[:, None]
    log_p = scipy.stats.norm.logpdf(x, p.mean, p.scale)
    log_q = scipy.stats.norm.logpdf(x, q.mean, q.scale)
    expected = np.trapezoid(np.exp(log_p) * (log_p - log_q), x, axis=0)
    np.testing.assert_allclose(p.kl(q), expected, rtol=1e-4)
    np.testing.assert_array_equal(p.kl(p), np.zeros(3))
    np.testing.assert_array_equal(standard_normal(3).kl(standard_normal(3)), np.zeros(3))


def test_a_categorical_is_scipy_s():
    pi, other = Categorical(jnp.array([0.5, -1.0, 2.0])), Categorical(jnp.array([1.0, 0.3, -0.4]))
    p, q = (scipy.special.softmax(np.float64(law.logits)) for law in (pi, other))
    assert float(pi.entropy()) == pytest.approx(scipy.stats.entropy(p), rel=1e-5)
    assert float(pi.kl(other)) == pytest.approx(scipy.stats.entropy(p, q), rel=1e-5)
    np.testing.assert_allclose(jax.vmap(pi.log_prob)(jnp.arange(3)), np.log(p), rtol=1e-5)
    drawn = np.bincount(jax.vmap(pi.sample)(jr.split(jr.key(0), 5000)), minlength=3)
    assert scipy.stats.chisquare(drawn, 5000 * p).pvalue > 1e-3
    assert pi.mode() == 2
