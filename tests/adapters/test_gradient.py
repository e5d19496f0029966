"""Gradient steps: exact meta-gradients, what adapts, and how far a step goes."""

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.adapters import StepSizes, gradient_adapter, part, unadapted
from metablocks.nets import NormalPolicy

A = jnp.array([[2.0, 0.3], [0.3, 0.5]])
"""The Hessian of a quadratic L(theta; d) = 1/2 (theta - d)^T A (theta - d)."""
DATA = jnp.array([[0.4, -1.0], [0.2, 0.7], [-0.3, 0.1]])
ALPHA = 0.3
THETA = jnp.array([1.0, -2.0])


def quadratic(theta, params, data):
    del theta
    return 0.5 * (params - data) @ A @ (params - data)


def curved(theta, params, data):
    return jnp.sum(jnp.sin(params * data)) + theta @ params**2


def outer(phi):
    return jnp.sum(jnp.cos(phi))


def meta(adapter, theta, num_steps):
    _, phi = adapter.unroll(theta, unadapted(theta), DATA[:num_steps])
    return outer(phi.params)


def fixed(loss, **options):
    return gradient_adapter(loss, lambda theta, step: ALPHA, **options)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_on_a_quadratic_the_meta_gradient_is_its_closed_form(num_steps):
    """(I - alpha A)^K grad L'(theta_K)."""
    adapter = fixed(quadratic)
    phi = THETA
    for data in DATA[:num_steps]:
        phi = phi - ALPHA * A @ (phi - data)
    through = jnp.linalg.matrix_power(jnp.eye(2) - ALPHA * A, num_steps)
    told = jax.grad(lambda theta: meta(adapter, theta, num_steps))(THETA)
    np.testing.assert_allclose(told, through @ jax.grad(outer)(phi), atol=1e-6)


def test_first_order_takes_the_inner_gradient_as_it_is():
    adapter = fixed(quadratic, first_order=True)
    _, phi = adapter.unroll(THETA, unadapted(THETA), DATA[:2])
    told = jax.grad(lambda theta: meta(adapter, theta, 2))(THETA)
    np.testing.assert_allclose(told, jax.grad(outer)(phi.params), atol=1e-6)


def test_meta_gradients_agree_with_finite_differences():
    adapter = fixed(curved)
    chex.assert_numerical_grads(lambda theta: meta(adapter, theta, 2), (THETA,), 1, atol=5e-3)


def test_rematerialised_steps_have_the_same_meta_gradient():
    kept, again = fixed(curved), fixed(curved, rematerialise=True)
    told = [jax.grad(lambda theta: meta(one, theta, 3))(THETA) for one in (kept, again)]  # noqa: B023
    np.testing.assert_allclose(*told, rtol=1e-6)


def test_unrolling_is_stepping_and_tells_every_phi():
    adapter = fixed(curved)
    before, last = adapter.unroll(THETA, unadapted(THETA), DATA)
    phi = unadapted(THETA)
    for k, data in enumerate(DATA):
        np.testing.assert_allclose(before.params[k], phi.params, rtol=1e-6)
        phi = adapter.step(THETA, phi, data)
    np.testing.assert_allclose(last.params, phi.params, rtol=1e-6)
    assert last.steps == phi.steps == 3


def test_a_step_size_of_zero_is_the_identity():
    adapter = gradient_adapter(curved, lambda theta, step: 0.0)
    np.testing.assert_array_equal(adapter.step(THETA, unadapted(THETA), DATA[0]).params, THETA)


def test_learned_step_sizes_have_the_gradient_of_the_equation():
    """d phi / d alpha_i = -(grad L)_i."""
    adapter = gradient_adapter(lambda theta, p, d: quadratic(theta, p, d), lambda a, step: a)
    sizes = jnp.array([0.1, 0.4])
    told = jax.grad(lambda a: outer(adapter.step(a, unadapted(THETA), DATA[0]).params))(sizes)
    slope = A @ (THETA - DATA[0])
    phi = THETA - sizes * slope
    np.testing.assert_allclose(told, jnp.sin(phi) * slope, rtol=1e-5)


def test_step_sizes_by_kind():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}
    number = StepSizes("fixed", alpha=0.5, steps=2, later=0.5)
    assert number(number.init(params), jnp.array(1)) == 0.5
    assert number(number.init(params), jnp.array(2)) == 0.25
    assert jax.grad(lambda a: number(a, jnp.array(0)))(jnp.array(0.5)) == 0.0
    for steps in (1, 2):  # MAESN's released test halves after the second step and every later one
        again = StepSizes("fixed", alpha=0.5, steps=steps, later=0.5, every=True)
        assert [again(0.5, jnp.array(k)) for k in range(5)] == [0.5, 0.5, 0.25, 0.125, 0.0625]
    each = StepSizes("meta-sgd", alpha=0.5, steps=1)
    chex.assert_trees_all_equal_shapes(each.init(params), params)
    steps = StepSizes("per-step", alpha=0.5, steps=2)
    sizes = jax.tree.map(lambda a: a + jnp.arange(2.0), steps.init(params))
    for k, alpha in ((0, 0.5), (1, 1.5), (6, 1.5), (7, 1.5)):
        assert steps(sizes, jnp.array(k)) == {"w": alpha, "b": alpha}


def test_step_sizes_must_be_positive():
    with pytest.raises(ValueError, match="inner_lr must be positive, got 0"):
        StepSizes("fixed", alpha=0.0, steps=1)
    for steps, later in ((0, 1.0), (1, 1.5), (1, -0.1)):
        with pytest.raises(ValueError, match=f"got {steps}, {later}"):
            StepSizes("fixed", alpha=0.1, steps=steps, later=later)


@pytest.mark.parametrize("alpha", [jnp.ones((2, 2)), {"other": 0.1}], ids=("matrix", "tree"))
def test_a_step_size_that_does_not_fit_the_parameters_is_refused(alpha):
    adapter = gradient_adapter(lambda theta, p, data: jnp.sum(p["w"] ** 2), lambda theta, k: alpha)
    with pytest.raises(ValueError, match="a number, or a tree like the adapting parameters"):
        adapter.step(None, unadapted({"w": THETA}), None)


def test_only_the_named_part_adapts():
    policy = NormalPolicy(2, 1, hidden=(3,), key=jr.key(0))
    last = part(lambda policy: policy.mlp.layers[-1])
    adapter = gradient_adapter(
        lambda policy, layer, obs: last.into(policy, layer)(obs).mean.sum(),
        lambda policy, step: ALPHA,
    )
    phi = adapter.step(policy, unadapted(last.of(policy)), jnp.ones(2))
    new = last.into(policy, phi.params)
    np.testing.assert_allclose(new.mlp.layers[-1].bias, policy.mlp.layers[-1].bias - ALPHA)
    chex.assert_trees_all_equal(new.mlp.layers[0], policy.mlp.layers[0])
    chex.assert_trees_all_equal(new.log_scale, policy.log_scale)
    whole = part(lambda policy: policy)
    chex.assert_trees_all_equal(whole.into(policy, new), new)
