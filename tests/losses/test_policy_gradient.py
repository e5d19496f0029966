"""Advantages against double loops, and the clipped surrogate against its laws."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.dists import Categorical
from metablocks.losses import (
    discounted_returns,
    generalised_advantages,
    policy_gradient_loss,
    ppo_clip_loss,
    standardised,
    value_loss,
)

T = 6


def trial(seed):
    k_r, k_v, k_d = jr.split(jr.key(seed), 3)
    discount = 0.9 * jr.bernoulli(k_d, 0.7, (T,))
    return jr.normal(k_r, (T,)), discount, jr.normal(k_v, (T,)), jnp.float32(0.7)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_advantages_equal_a_double_loop(lam):
    given = trial(0)
    r, discount, v, last = map(np.asarray, given)
    delta = r + discount * np.append(v[1:], last) - v
    expected = [sum(np.prod(lam * discount[t:k]) * delta[k] for k in range(t, T)) for t in range(T)]
    got = generalised_advantages(*given[:3], lam=lam, bootstrap=given[3])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_lambda_one_is_the_return_minus_the_value_and_zero_the_error():
    r, discount, v, last = trial(1)
    returns = discounted_returns(r, discount, bootstrap=last)
    one = generalised_advantages(r, discount, v, lam=1.0, bootstrap=last)
    np.testing.assert_allclose(one, returns - v, rtol=1e-5, atol=1e-6)
    zero = generalised_advantages(r, discount, v, lam=0.0, bootstrap=last)
    np.testing.assert_allclose(zero, r + discount * jnp.append(v[1:], last) - v, rtol=1e-6)


def test_a_discount_of_zero_cuts():
    r, discount, v, last = trial(2)
    cut = discount.at[2].set(0.0)
    one = generalised_advantages(r, cut, v, lam=0.9, bootstrap=last)
    other = generalised_advantages(r.at[3:].add(5.0), cut, v, lam=0.9, bootstrap=last)
    np.testing.assert_array_equal(one[:3], other[:3])
    assert (one[3:] != other[3:]).all()


@pytest.mark.parametrize("advantage", [1.3, -0.4])
def test_at_the_behaviour_the_surrogate_has_the_gradient_of_the_policy_gradient(advantage):
    logits, action = jnp.array([0.3, -1.0, 0.5]), jnp.int32(1)
    behaviour = Categorical(logits).log_prob(action)

    def surrogate(logits):
        log_prob = Categorical(logits).log_prob(action)
        return ppo_clip_loss(log_prob, behaviour, jnp.float32(advantage), epsilon=0.2)

    def score(logits):
        return policy_gradient_loss(Categorical(logits).log_prob(action), jnp.float32(advantage))

    np.testing.assert_allclose(jax.grad(surrogate)(logits), jax.grad(score)(logits), rtol=1e-5)
    expected = -advantage * jax.grad(lambda x: Categorical(x).log_prob(action))(logits)
    np.testing.assert_allclose(jax.grad(score)(logits), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "flat"),
    [(1.5, 1.0, True), (0.5, -1.0, True), (0.5, 1.0, False), (1.5, -1.0, False), (1.1, 1.0, False)],
)
def test_there_is_no_gradient_where_the_ratio_has_gone_too_far(ratio, advantage, flat):
    log_prob = jnp.log(jnp.float32(ratio))

    def loss(log_prob, epsilon):
        return ppo_clip_loss(log_prob, jnp.zeros(()), jnp.float32(advantage), epsilon=epsilon)

    slope = jax.grad(loss)(log_prob, 0.2)
    assert (slope == 0) == flat
    # without a clip it is the ratio's loss
    np.testing.assert_allclose(loss(log_prob, 1e9), -ratio * advantage, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(log_prob, 1e9), -ratio * advantage, rtol=1e-5)


def test_advantages_targets_and_behaviour_are_data():
    def loss(parts):
        log_prob, behaviour, advantage, value, target = parts
        surrogate = ppo_clip_loss(log_prob, behaviour, advantage, epsilon=0.2)
        return surrogate + value_loss(value, target) + policy_gradient_loss(log_prob, advantage)

    slopes = jax.grad(loss)(jnp.array([-1.0, -1.1, 0.5, 0.3, 0.9]))
    assert slopes[0] != 0 and slopes[3] != 0
    np.testing.assert_array_equal(slopes[jnp.array([1, 2, 4])], 0.0)


def test_the_clipped_value_loss_is_the_larger_of_the_two():
    value, old, target = jnp.float32(2.0), jnp.float32(1.0), jnp.float32(0.0)
    assert float(value_loss(value, target)) == pytest.approx(2.0)
    assert float(value_loss(value, target, behaviour_value=old)) == pytest.approx(2.0)
    # moving towards the target by more than epsilon is not rewarded further
    near = value_loss(jnp.float32(0.1), target, behaviour_value=old, epsilon=0.2)
    assert float(near) == pytest.approx(0.5 * 0.8**2)


def test_standardised_advantages_have_mean_zero_and_unit_deviation():
    values = standardised(3.0 + 5.0 * jr.normal(jr.key(0), (4, 8)))
    assert float(values.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(values.std()) == pytest.approx(1.0, abs=1e-5)
    assert jnp.isfinite(standardised(jnp.ones(3))).all()
