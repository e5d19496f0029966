"""The beliefs an agent acts on are those of the encoder, unrolled over what happened."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks import laws
from metablocks.encoders import RecurrentEncoder
from metablocks.envs.gridworld import gridworld
from metablocks.evaluate import trial
from metablocks.exploration import belief_agent
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
