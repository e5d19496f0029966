"""The linear baseline: its features, and its fit in closed form."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.baselines import linear_baseline, linear_features


def data(key=jr.key(0)):  # noqa: B008
    obs = jr.normal(key, (6, 9, 2))
    return obs, jax.vmap(linear_features)(obs)


def test_the_features_are_the_published_ones():
    obs = jnp.array([[20.0, -3.0], [1.0, 2.0]])
    rows = linear_features(obs)
    np.testing.assert_allclose(rows[0], [10, -3, 100, 9, 0, 0, 0, 1])
    np.testing.assert_allclose(rows[1], [1, 2, 1, 4, 1e-2, 1e-4, 1e-6, 1], rtol=1e-6)


def test_what_is_linear_is_fitted():
    obs, features = data()
    returns = obs @ jnp.array([1.0, -2.0]) + (obs**2) @ jnp.array([0.5, 0.3]) + 4.0
    values = linear_baseline(features, returns, jnp.ones((6, 9), bool))
    np.testing.assert_allclose(values, returns, atol=5e-3)


def test_the_fit_is_least_squares_with_that_ridge():
    _, features = data()
    returns, where = jr.normal(jr.key(1), (6, 9)), jr.bernoulli(jr.key(2), 0.7, (6, 9))
    x, g = np.asarray(features, np.float64)[where], np.asarray(returns, np.float64)[where]
    ridge = np.diag(1e-2 * (x**2).sum(0))  # every feature's own size
    w = np.linalg.solve(x.T @ x + ridge, x.T @ g)
    values = linear_baseline(features, returns, where, ridge=1e-2)
    np.testing.assert_allclose(values, np.asarray(features) @ w, rtol=1e-3, atol=1e-4)


def test_masked_steps_teach_nothing():
    _, features = data()
    returns, where = jr.normal(jr.key(1), (6, 9)), jr.bernoulli(jr.key(2), 0.7, (6, 9))
    told = linear_baseline(features, returns, where)
    np.testing.assert_array_equal(
        told, linear_baseline(features, jnp.where(where, returns, 99.0), where)
    )


def test_repeated_features_are_solved_all_the_same():
    """Half-cheetah's observation holds the torso's height twice, and a zero."""
    obs, _ = data()
    obs = jnp.concatenate([obs, obs[..., :1] + 0.7, jnp.zeros((6, 9, 1))], axis=-1)
    returns = obs @ jnp.array([1.0, -2.0, 0.0, 0.0])
    features = jax.vmap(linear_features)(obs)
    values = linear_baseline(features, returns, jnp.ones((6, 9), bool))
    np.testing.assert_allclose(values, returns, atol=2e-2)


def test_far_away_states_leave_the_time_features_free():
    """The published baseline's ridge is next to nothing; large features must not make it more."""
    obs = 5.0 * jr.normal(jr.key(0), (20, 100, 2))
    features = jax.vmap(linear_features)(obs)
    t = jnp.arange(100) / 100.0
    returns = jnp.broadcast_to(30.0 * (1 - t) ** 2, (20, 100))
    values = linear_baseline(features, returns, jnp.ones((20, 100), bool))
    np.testing.assert_allclose(values, returns, atol=0.1)
