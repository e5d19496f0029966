"""Explorers: what is held within a round, and what is drawn anew between rounds."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.encoders.product import ProductEncoder
from metablocks.envs.point_goal import dense_square
from metablocks.evaluate import trial
from metablocks.exploration.held_action import held_action
from metablocks.exploration.posterior_sampling import posterior_sampling
from metablocks.trees import take

ROUNDS, HORIZON = 4, 3
BENCHMARK = dense_square(horizon=HORIZON)
ENCODER = ProductEncoder(2, 2, hidden=(4,), key=jr.key(0))


def sampler(**options):
    def act(theta, z, timestep, key):
        return jnp.clip(z, -1, 1), {"z": z}

    return posterior_sampling(lambda theta: theta, lambda step: step.next_obs, act, **options)


def run(agent, theta=ENCODER):
    key = jr.key(1)
    task = take(BENCHMARK.train(jr.key(0), 1), jnp.array(0))
    phi = agent.prior(theta, key)
    options = {"episodes": ROUNDS, "horizon": HORIZON, "key": key}
    phi, trajectories = trial(agent, BENCHMARK.env, theta, phi, task, **options)
    return phi, jax.tree.map(lambda x: x[:, 0], trajectories)


def posterior(trajectories, rounds):
    """q(z | the first rounds), by hand."""
    rows = trajectories.next_obs[:rounds].reshape(-1, 2)
    return ENCODER.posterior(ENCODER.update(ENCODER.init(), rows, jnp.ones(len(rows), bool)))


def test_z_is_held_within_a_round_and_redrawn_between():
    _, trajectories = run(sampler())
    z = np.asarray(trajectories.extras["z"])
    assert (z == z[:, :1]).all()
    assert len(np.unique(z[:, 0], axis=0)) == ROUNDS


def test_z_is_a_draw_from_the_posterior_of_all_rounds_before():
    agent = sampler()
    phi, trajectories = run(agent)
    last = jax.tree.map(lambda x: x[-1:], trajectories)
    earlier = phi._replace(memory=ENCODER.init(), rounds=jnp.int32(0))
    for rounds in range(3):
        data = jax.tree.map(lambda x, k=rounds: x[k : k + 1], trajectories)
        earlier = agent.adapt(ENCODER, earlier, data, jr.key(0))
    keys = jr.split(jr.key(2), 2000)
    z = jax.vmap(lambda key: agent.adapt(ENCODER, earlier, last, key).z)(keys)
    q = posterior(trajectories, 4)
    np.testing.assert_allclose(z.mean(axis=0), q.mean, atol=0.1)
    np.testing.assert_allclose(z.std(axis=0), q.scale, rtol=0.1)
    again = agent.adapt(ENCODER, earlier, last, keys[0])
    np.testing.assert_allclose(phi.memory, again.memory, rtol=1e-5)


@pytest.mark.parametrize("prior_rounds", [1, 2])
def test_the_first_rounds_act_on_the_prior_while_data_is_kept(prior_rounds):
    """Deterministic, so that z is the posterior's mean: 0 for the prior."""
    phi, trajectories = run(sampler(prior_rounds=prior_rounds, deterministic=True))
    z = trajectories.extras["z"][:, 0]
    np.testing.assert_array_equal(z[:prior_rounds], 0.0)
    for k in range(prior_rounds, ROUNDS):
        np.testing.assert_allclose(z[k], posterior(trajectories, k).mean, rtol=1e-4, atol=1e-6)
        assert (z[k] != 0).all()
    np.testing.assert_allclose(phi.z, posterior(trajectories, ROUNDS).mean, rtol=1e-4, atol=1e-6)
    assert phi.rounds == ROUNDS


def test_held_action_keeps_to_its_direction_for_a_round():
    _, still = run(held_action(2, noise=0.0), None)
    assert (still.action == still.action[:, :1]).all()
    assert len(np.unique(still.action[:, 0], axis=0)) == ROUNDS
    _, shaken = run(held_action(2, noise=0.1), None)
    gap = np.abs(shaken.action - still.action)
    assert 0 < gap.mean() < 0.2 and np.abs(shaken.action).max() <= 1


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="prior_rounds must be at least 1, got 0"):
        sampler(prior_rounds=0)
    with pytest.raises(ValueError, match="got 0 and"):
        held_action(0, noise=0.1)
    with pytest.raises(ValueError, match=r"and -0\.1"):
        held_action(2, noise=-0.1)
