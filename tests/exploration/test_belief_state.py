"""The beliefs an agent acts on are those of the encoder, unrolled over what happened."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks import laws
from metablocks.encoders import RecurrentEncoder
from metablocks.envs.gridworld import gridworld
from metablocks.envs.gymnax_tasks import cartpole
from metablocks.evaluate import trial
from metablocks.exploration import belief_agent
from metablocks.rollout import live
from metablocks.trees import take

EPISODES, HORIZON = 3, 4


def row(action, next_obs, reward):
    return jnp.concatenate([jax.nn.one_hot(action, 5), next_obs, reward[None]])


def act(theta, q, timestep, key):
    return jr.randint(key, (), 0, 5), {"mean": q.mean, "scale": q.scale}


AGENT = belief_agent(lambda theta: theta, row, act)
THETA = RecurrentEncoder(5 + 9 + 1, 2, hidden=(4,), learned_prior=True, key=jr.key(0))


def test_acting_equals_unrolling_across_episode_ends():
    benchmark = gridworld(size=3, horizon=HORIZON)
    task = take(benchmark.test(jr.key(0), 1), jnp.array(0))
    _, made = trial(
        AGENT, benchmark.env, THETA, AGENT.prior(THETA, jr.key(1)), task,
        episodes=EPISODES, horizon=HORIZON, key=jr.key(2),
    )  # fmt: skip
    rows = jax.tree.map(lambda leaf: leaf.reshape(EPISODES * HORIZON, *leaf.shape[3:]), made)
    q = THETA.unroll(jax.vmap(row)(rows.action, rows.next_obs, rows.reward))
    np.testing.assert_allclose(rows.extras["mean"], q.mean[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows.extras["scale"], q.scale[:-1], rtol=1e-4, atol=1e-6)


def test_acting_equals_unrolling_where_episodes_end_before_their_time():
    """What follows an early end is of no episode: neither sees it."""
    benchmark = cartpole(horizon=30)
    net = RecurrentEncoder(2 + 4 + 1, 2, hidden=(4,), learned_prior=True, key=jr.key(0))
    agent = belief_agent(
        lambda theta: theta,
        lambda action, obs, reward: jnp.append(jnp.append(jax.nn.one_hot(action, 2), obs), reward),
        lambda theta, q, now, key: (jr.randint(key, (), 0, 2), {"mean": q.mean}),
    )
    task = take(benchmark.test(jr.key(0), 1), jnp.array(0))
    phi, made = trial(
        agent, benchmark.env, net, agent.prior(net, jr.key(1)), task,
        episodes=3, horizon=30, key=jr.key(2),
    )  # fmt: skip
    rows = jax.tree.map(lambda leaf: leaf.reshape(90, *leaf.shape[3:]), made)
    alive = jax.vmap(live)(jax.tree.map(lambda leaf: leaf[:, 0], made)).reshape(90)
    assert 20 < alive.sum() < 90
    contexts = jnp.concatenate(
        [jax.nn.one_hot(rows.action, 2), rows.next_obs, rows.reward[:, None]], axis=1
    )
    q = net.unroll(contexts, alive)
    np.testing.assert_allclose(rows.extras["mean"][alive], q.mean[:-1][alive], rtol=1e-3, atol=1e-5)
    short = net.unroll(contexts[alive])  # as if the rest had not been
    np.testing.assert_allclose(q.mean[-1], short.mean[-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(net.posterior(phi.memory).mean, q.mean[-1], rtol=1e-3, atol=1e-5)


def test_a_learned_prior_is_the_belief_of_no_data():
    first = AGENT.prior(THETA, jr.key(0))
    q = THETA.posterior(first.memory)
    np.testing.assert_array_equal(q.mean, THETA.head.bias[:2])


def test_the_law_of_agents():
    benchmark = gridworld(size=3, horizon=HORIZON)
    laws.agent_preserves_structure(AGENT, benchmark, THETA, shots=1, num_steps=HORIZON, examples=1)


def test_what_it_expects_is_the_mean_over_its_belief():
    agent = belief_agent(
        lambda theta: theta, row, act, pays=lambda theta, z: jnp.stack([z[0], 1.0])
    )
    q = THETA.posterior(AGENT.prior(THETA, jr.key(0)).memory)
    expects = jax.vmap(lambda key: agent.expects(THETA, agent.prior(THETA, key), key))
    told = expects(jr.split(jr.key(1), 200))
    assert AGENT.expects is None
    np.testing.assert_array_equal(told[:, 1], 1.0)
    assert abs(told[:, 0].mean() - q.mean[0]) < 4 * q.scale[0] / (32 * 200) ** 0.5
