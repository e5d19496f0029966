"""Outer steps: the trust region's curvature, its length, and when it stays; Adam's epochs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from metablocks.dists import DiagNormal
from metablocks.losses import likelihood_ratio_loss
from metablocks.outer import adam_epochs, fisher_vector_product, trust_region

OBS, ACTIONS = jr.normal(jr.key(0), (50, 3)), jr.normal(jr.key(1), (50, 2))
ADVANTAGE = jr.normal(jr.key(2), (50,))
THETA = {"w": 0.3 * jr.normal(jr.key(3), (2, 3)), "log_scale": jnp.array([0.1, -0.2])}


def policies(theta, data=None):
    del data
    return jax.vmap(lambda obs: DiagNormal(theta["w"] @ obs, jnp.exp(theta["log_scale"])))(OBS)


def adapted_policies(theta, data=None):
    """The same after a gradient step on a loss that is not quadratic."""
    loss = lambda w: jnp.sum(jnp.cos(OBS @ w.T)) / 50
    return policies(theta | {"w": theta["w"] - 0.5 * jax.grad(loss)(theta["w"])})


def kl(old, new, data=None):
    del data
    return jax.vmap(lambda old, new: old.kl(new).sum())(old, new).mean()


def surrogate(theta, pi, data=None):
    del theta, data
    log_prob, made = (
        jax.vmap(lambda pi, a: pi.log_prob(a))(at, ACTIONS) for at in (pi, policies(THETA))
    )
    return jax.vmap(likelihood_ratio_loss)(log_prob, made, ADVANTAGE).mean()


def dense(outputs):
    """The Hessian of the divergence, by differentiating all the way twice."""
    flat, back = jax.flatten_util.ravel_pytree(THETA)
    old = outputs(THETA)
    return jax.hessian(lambda x: kl(old, outputs(back(x))))(flat), back


@pytest.mark.parametrize("outputs", [policies, adapted_policies], ids=["plain", "through a step"])
def test_the_fisher_product_is_the_divergence_s_hessian(outputs):
    hessian, back = dense(outputs)
    v = jr.normal(jr.key(5), (len(hessian),))
    product = fisher_vector_product(outputs, kl, THETA, damping=0.1)(back(v))
    told, _ = jax.flatten_util.ravel_pytree(product)
    np.testing.assert_allclose(told, hessian @ v + 0.1 * v, rtol=1e-3, atol=1e-4)


def test_the_step_is_the_natural_gradient_as_long_as_the_radius_allows():
    region = trust_region(policies, surrogate, kl, radius=1e-4, iterations=30)
    new, _, told = region.improve(THETA, region.init(THETA), None)
    flat = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]
    moved = flat(new) - flat(THETA)
    hessian, _ = dense(policies)
    natural = -jnp.linalg.solve(
        hessian, flat(jax.grad(lambda theta: surrogate(theta, policies(theta)))(THETA))
    )
    np.testing.assert_allclose(
        moved / jnp.linalg.norm(moved), natural / jnp.linalg.norm(natural), atol=2e-3
    )
    far = kl(policies(THETA), policies(new))
    np.testing.assert_allclose(told["divergence"], far, rtol=1e-2)
    assert far <= 1e-4 and (far > 0.9e-4 or told["step"] < 1.0)


def test_a_step_never_leaves_the_region_nor_raises_the_surrogate():
    for radius in (1e-3, 0.05, 1.0):
        region = trust_region(policies, surrogate, kl, radius=radius)
        new, state, told = region.improve(THETA, region.init(THETA), None)
        assert kl(policies(THETA), policies(new)) <= radius * 1.001
        assert surrogate(new, policies(new)) < surrogate(THETA, policies(THETA))
        np.testing.assert_allclose(told["surrogate"], surrogate(new, policies(new)), rtol=1e-4)
        assert state.steps == 1


def test_where_nothing_can_be_gained_it_stays():
    def worse(theta, pi, data):  # any step away costs more than its gradient says
        away = [jnp.abs(theta[name] - THETA[name]).sum() for name in THETA]
        return surrogate(theta, pi) + 1e6 * sum(away)

    region = trust_region(policies, worse, kl)
    new, _, told = region.improve(THETA, region.init(THETA), None)
    assert all((new[name] == THETA[name]).all() for name in THETA)
    assert told["step"] == 0.0


def test_a_radius_must_be_positive():
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        trust_region(policies, surrogate, kl, radius=0.0)


def test_epochs_are_the_optimiser_s_steps_down_the_surrogate():
    block = adam_epochs(policies, surrogate, optimiser=optax.sgd(0.1), epochs=2)
    new, _, told = block.improve(THETA, block.init(THETA), None)
    theta, losses = THETA, []
    for _ in range(2):
        loss, slope = jax.value_and_grad(lambda at: surrogate(at, policies(at)))(theta)
        theta = jax.tree.map(lambda p, g: p - 0.1 * g, theta, slope)
        losses.append(loss)
    for name in THETA:
        np.testing.assert_allclose(new[name], theta[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(told["surrogate"], sum(losses) / 2, rtol=1e-4, atol=1e-6)
