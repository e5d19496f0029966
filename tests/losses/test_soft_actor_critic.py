"""Soft actor-critic against a soft MDP that can be solved by enumeration."""

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.losses.soft_actor_critic import (
    critic_loss,
    policy_loss,
    sac_losses,
    soft_value,
    temperature_loss,
)
from metablocks.nets.actor_critic import SoftActorCritic

STATES, ACTIONS, GAMMA, ALPHA = 3, 2, 0.9, 0.4


@pytest.fixture(scope="module")
def mdp():
    """Rewards r(s, a), P(s' | s, a), soft-optimal Q* and log pi* = (Q* - V*) / alpha."""
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(STATES, ACTIONS))
    transition = rng.dirichlet(np.ones(STATES), size=(STATES, ACTIONS))
    q = np.zeros((STATES, ACTIONS))
    for _ in range(500):
        v = ALPHA * np.log(np.exp(q / ALPHA).sum(axis=1))
        q = reward + GAMMA * transition @ v
    return reward, transition, q, (q - v[:, None]) / ALPHA


def expectation(mdp, f):
    """E_{s' ~ P(s, a), a' ~ pi*} f(s, a, s', a') for every (s, a), by enumeration."""
    _, transition, _, log_pi = mdp
    weight = jnp.asarray(transition[:, :, :, None] * np.exp(log_pi), jnp.float32)
    grid = jnp.indices((STATES, ACTIONS, STATES, ACTIONS)).reshape(4, -1)
    values = jax.vmap(f)(*grid)
    shape = (STATES, ACTIONS, STATES, ACTIONS)
    weighted = values * weight.reshape(-1, *[1] * (values.ndim - 1))
    return weighted.reshape(*shape, *values.shape[1:]).sum(axis=(2, 3))


def test_the_target_of_q_star_is_q_star(mdp):
    reward, _, q, log_pi = (jnp.asarray(x, jnp.float32) for x in mdp)

    def target(s, a, s_next, a_next):
        twins = jnp.stack([q[s_next, a_next]] * 2)
        return reward[s, a] + GAMMA * soft_value(
            twins, log_pi[s_next, a_next], alpha=jnp.float32(ALPHA)
        )

    np.testing.assert_allclose(expectation(mdp, target), q, rtol=1e-5, atol=1e-5)


def test_q_star_is_a_fixed_point_of_the_critic_loss(mdp):
    reward, _, q, log_pi = (jnp.asarray(x, jnp.float32) for x in mdp)

    def slope(s, a, s_next, a_next, shift=0.0):
        twins = jnp.stack([q[s, a], q[s, a] + shift])
        twin_t = jnp.stack([q[s_next, a_next]] * 2)
        v = soft_value(twin_t, log_pi[s_next, a_next], alpha=jnp.float32(ALPHA))
        return jax.grad(critic_loss)(twins, reward[s, a], jnp.float32(GAMMA), v)

    np.testing.assert_allclose(expectation(mdp, slope), 0.0, atol=1e-5)
    # a critic that stands 1 too high is pulled down by 1, its twin stays
    shifted = expectation(mdp, lambda *index: slope(*index, shift=1.0))
    np.testing.assert_allclose(shifted[..., 0], 0.0, atol=1e-5)
    np.testing.assert_allclose(shifted[..., 1], 1.0, atol=1e-5)


def test_value_takes_the_smaller_twin_and_the_entropy_bonus():
    for q in ([1.0, 4.0], [4.0, 1.0]):
        value = soft_value(jnp.array(q), jnp.array(-2.0), alpha=jnp.array(0.5))
        np.testing.assert_allclose(value, 1.0 + 0.5 * 2.0)


def test_no_gradient_into_the_target():
    q, r, discount, v = jnp.array([1.0, 2.0]), jnp.array(0.5), jnp.array(0.9), jnp.array(3.0)
    grads = jax.grad(critic_loss, argnums=(0, 1, 2, 3))(q, r, discount, v)
    np.testing.assert_allclose(grads[0], q - (r + discount * v), rtol=1e-6)
    chex.assert_trees_all_equal(grads[1:], (jnp.array(0.0),) * 3)


def test_policy_descends_to_the_boltzmann_policy():
    """With Q = -a^2 / 2 and a Gaussian policy, the minimum is N(0, alpha)."""
    noise = jr.normal(jr.key(0), (4000,))

    def loss(mean, log_scale, alpha=ALPHA):
        def one(noise):
            action = mean + jnp.exp(log_scale) * noise
            log_prob = -0.5 * noise**2 - log_scale
            return policy_loss(
                -0.5 * jnp.stack([action, action]) ** 2, log_prob, alpha=jnp.asarray(alpha)
            )

        return jax.vmap(one)(noise).mean()

    d_mean, d_log_scale = jax.grad(loss, argnums=(0, 1))(0.7, 0.5 * jnp.log(ALPHA))
    np.testing.assert_allclose(d_mean, 0.7, atol=0.05)
    np.testing.assert_allclose(d_log_scale, 0.0, atol=0.05)
    # towards more entropy where the policy is too narrow
    assert jax.grad(loss, argnums=1)(0.0, jnp.log(0.1)) < 0
    assert jax.grad(loss, argnums=2)(0.7, 0.0, jnp.array(ALPHA)) == 0


def test_temperature_moves_against_the_entropy_gap():
    def slope(entropy):
        return jax.grad(temperature_loss)(jnp.array(0.3), jnp.array(-entropy), target_entropy=-2.0)

    # descent: too much entropy lowers the temperature, too little raises it
    assert slope(1.0) > 0 > slope(-5.0)
    np.testing.assert_allclose(slope(-2.0), 0.0)
    into_policy = jax.grad(temperature_loss, argnums=1)
    assert into_policy(jnp.array(0.3), jnp.array(1.0), target_entropy=-2.0) == 0


def test_every_part_learns_from_its_own_loss_only():
    """critic: the critic and z; policy: the policy; temperature: log alpha; nothing: the target."""
    theta = SoftActorCritic(2, 1, z_size=2, hidden=(4,), alpha=0.3, key=jr.key(0))
    obs, action, z = jnp.array([0.5, -1.0]), jnp.array([0.2]), jnp.array([1.0, -0.5])

    @jax.jit
    def slopes(theta, target, z):
        def losses(theta, target, z):
            r, discount = jnp.array(1.0), jnp.array(0.9)
            return sac_losses(
                theta, target, z, obs, action, r, discount, -obs, automatic=True, key=jr.key(1)
            )

        return jax.jacrev(losses, argnums=(0, 1, 2))(theta, target, z)

    def learns(part):
        return any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(part))

    found = {}
    for name, (d_theta, d_target, d_z) in slopes(theta, theta.critic, z).items():
        parts = {"policy": d_theta.policy, "critic": d_theta.critic, "alpha": d_theta.log_alpha}
        parts |= {"target": d_target, "z": d_z}
        found[name] = {part for part, slope in parts.items() if learns(slope)}
    assert found == {"critic": {"critic", "z"}, "policy": {"policy"}, "temperature": {"alpha"}}


@pytest.mark.parametrize("part", ["critic", "policy"])
def test_the_losses_of_a_transition_are_the_equations(part):
    """Every number by hand: the slow critics at (s', a'), a' ~ pi(. | s'), the policy at s."""
    k_theta, k_target, k_loss = jr.split(jr.key(0), 3)
    sizes = {"z_size": 1, "hidden": (4,), "alpha": 0.3}
    theta = SoftActorCritic(3, 2, **sizes, key=k_theta)
    target = SoftActorCritic(3, 2, **sizes, key=k_target).critic
    s, s_next = jnp.array([0.5, -1.0, 2.0]), jnp.array([-0.3, 0.4, 1.0])
    a, z = jnp.array([0.2, -0.6]), jnp.array([1.5])
    r, discount = jnp.float32(2.0), jnp.float32(0.7)
    losses = sac_losses(theta, target, z, s, a, r, discount, s_next, key=k_loss)
    k_tm1, k_t = jr.split(k_loss)
    if part == "critic":
        a_next, log_prob = theta.policy(s_next, z).sample_and_log_prob(k_t)
        v = min(target(s_next, a_next, z)) - 0.3 * log_prob
        expected = 0.5 * sum((q - (r + discount * v)) ** 2 for q in theta.critic(s, a, z))
    else:
        a_new, log_prob = theta.policy(s, z).sample_and_log_prob(k_tm1)
        expected = 0.3 * log_prob - min(theta.critic(s, a_new, z))
    assert float(losses[part]) == pytest.approx(float(expected), rel=1e-5)
