"""Outer steps: the trust region's curvature, its length, and when it stays; Adam's epochs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from metablocks.dists import DiagNormal
from metablocks.losses import likelihood_ratio_loss
from metablocks.outer import (
    OuterChoice,
    OuterConfig,
    adam_epochs,
    fisher_vector_product,
    meta_adam,
    trust_region,
)

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
    tried = moved / told["step"]  # the length that the quadratic says the radius allows
    np.testing.assert_allclose(0.5 * tried @ hessian @ tried, 1e-4, rtol=1e-2)
    assert far <= 1e-4


def test_a_step_never_leaves_the_region_nor_raises_the_surrogate():
    for radius in (1e-3, 0.05, 1.0):
        region = trust_region(policies, surrogate, kl, radius=radius)
        new, state, told = region.improve(THETA, region.init(THETA), None)
        assert kl(policies(THETA), policies(new)) <= radius * 1.001
        assert surrogate(new, policies(new)) < surrogate(THETA, policies(THETA))
        np.testing.assert_allclose(told["surrogate"], surrogate(new, policies(new)), rtol=1e-4)
        assert state.steps == 1


def test_a_step_is_shortened_until_the_divergence_itself_is_inside():
    steep = lambda old, new, data=None: kl(old, new) * (1.0 + 100.0 * kl(old, new))
    region = trust_region(policies, surrogate, steep, radius=0.05)
    new, _, told = region.improve(THETA, region.init(THETA), None)
    assert 0.02 < steep(policies(THETA), policies(new)) <= 0.05 * 1.001
    assert 0.0 < told["step"] < 1.0


def test_where_nothing_can_be_gained_it_stays():
    def worse(theta, pi, data):  # any step away costs more than its gradient says
        away = [jnp.abs(theta[name] - THETA[name]).sum() for name in THETA]
        return surrogate(theta, pi) + 1e6 * sum(away)

    region = trust_region(policies, worse, kl)
    new, _, told = region.improve(THETA, region.init(THETA), None)
    assert all((new[name] == THETA[name]).all() for name in THETA)
    assert told["step"] == 0.0


@pytest.mark.parametrize(
    "options",
    [{"iterations": 0}, {"backtracks": 0}, {"damping": -1.0}, {"shrink": 1.5}, {"shrink": 0.0}],
    ids=str,
)
def test_numbers_with_which_no_step_would_be_made_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        trust_region(policies, lambda *row: 0.0, kl, **options)


def test_what_makes_no_step_is_refused():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        adam_epochs(policies, kl, optimiser=optax.sgd(0.1), epochs=0)
    with pytest.raises(ValueError, match="theta must be a NamedTuple, got dict"):
        meta_adam(OuterConfig(), num_updates=1).init({"w": jnp.zeros(2)})


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


class Two(NamedTuple):
    policy: jax.Array
    alpha: jax.Array


def test_alpha_has_a_step_size_of_its_own_and_both_fall_linearly():
    """Adam's steps are as long as its step size where the gradient is constant."""
    cfg = OuterConfig(epochs=2, lr=1e-3, alpha_lr=1e-2, lr_end=0.1)
    optimiser = meta_adam(cfg, num_updates=5)
    theta = Two(jnp.zeros(3), jnp.zeros(2))
    state = optimiser.init(theta)
    for k in range(12):
        steps, state = optimiser.update(Two(jnp.ones(3), jnp.ones(2)), state, theta)
        share = 1 - 0.9 * min(k / 10, 1)
        np.testing.assert_allclose(steps.policy, -1e-3 * share * np.ones(3), rtol=1e-4)
        np.testing.assert_allclose(steps.alpha, -1e-2 * share * np.ones(2), rtol=1e-4)


def test_the_outer_step_goes_down_the_surrogate_of_its_kind():
    ratio = 1.5
    new, old, one = jnp.log(ratio), jnp.array(0.0), jnp.array(1.0)
    assert OuterChoice(outer="trust-region").surrogate(new, old, one) == pytest.approx(-1.5)
    assert OuterChoice(outer="ppo", epsilon=0.2).surrogate(new, old, one) == pytest.approx(-1.2)
