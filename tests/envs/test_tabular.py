"""Random MDPs against their laws, and backward induction against every policy there is."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.envs.tabular import TabularMDP, optimal_policy, random_mdp
from metablocks.evaluate import oracle_return
from metablocks.trees import take
from metablocks.types import TimeStep


def test_rewards_and_transitions_have_the_published_laws():
    tasks = random_mdp().train(jr.key(0), 400)
    assert tasks.transition.shape == (400, 10, 5, 10) and tasks.reward.shape == (400, 10, 5)
    np.testing.assert_allclose(tasks.transition.sum(axis=-1), 1.0, rtol=1e-4)
    # Dirichlet(1) over 10: mean 1/10, variance 9 / (100 * 11)
    assert float(tasks.transition.var()) == pytest.approx(9 / 1100, rel=0.03)
    assert float(tasks.reward.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(tasks.reward.std()) == pytest.approx(1.0, abs=0.02)


def test_steps_follow_the_task():
    benchmark = random_mdp(num_states=3, num_actions=2)
    task = take(benchmark.train(jr.key(1), 1), jnp.array(0))
    obs, start = benchmark.env.reset(jr.key(0), task)
    np.testing.assert_array_equal(obs, [1, 0, 0])
    keys = jr.split(jr.key(2), 20_000)
    step = jax.jit(jax.vmap(lambda key: benchmark.env.step(key, start, jnp.int32(1), task)))
    seen, _, rewards, *_ = step(keys)
    np.testing.assert_allclose(seen.mean(axis=0), task.transition[0, 1], atol=0.015)
    assert float(rewards.mean()) == pytest.approx(float(task.reward[0, 1]), abs=0.03)
    assert float(rewards.std()) == pytest.approx(1.0, abs=0.03)


def test_backward_induction_equals_the_best_of_all_policies():
    num_states, num_actions, horizon = 2, 2, 3
    task = take(
        random_mdp(num_states=num_states, num_actions=num_actions).train(jr.key(3), 1),
        jnp.array(0),
    )
    transition, reward = np.asarray(task.transition, float), np.asarray(task.reward, float)
    best = np.full(num_states, -np.inf)
    for choice in itertools.product(range(num_actions), repeat=horizon * num_states):
        policy, value = np.reshape(choice, (horizon, num_states)), np.zeros(num_states)
        for actions in policy[::-1]:
            rows = np.arange(num_states)
            value = reward[rows, actions] + transition[rows, actions] @ value
        best = np.maximum(best, value)
    actions, values = optimal_policy(task.transition, task.reward, horizon=horizon)
    np.testing.assert_allclose(values[0], best, rtol=1e-5)
    assert actions.shape == (horizon, num_states)


def test_the_told_agent_gets_the_optimal_value():
    benchmark = random_mdp(num_states=4, num_actions=3, horizon=5)
    tasks = benchmark.test(jr.key(4), 100)
    returns = oracle_return(benchmark, tasks, key=jr.key(5), episodes=64)
    solve = jax.vmap(lambda task: optimal_policy(task.transition, task.reward, horizon=5)[1][0, 0])
    gaps = np.asarray(returns - solve(tasks))
    assert abs(gaps.mean()) < 4 * gaps.std() / len(gaps) ** 0.5


def test_the_told_agent_knows_how_many_steps_are_left():
    """At first it invests: action 1 costs, but leads to where action 0 pays; at last it takes."""
    lead = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    task = TabularMDP(lead, jnp.array([[0.5, 0.0], [2.0, 0.0]]), jnp.int32(2))
    agent = random_mdp(num_states=2, num_actions=2, horizon=2).oracle(task)
    phi, taken = agent.prior(None, jr.key(0)), []
    for state in ((1.0, 0.0), (1.0, 0.0)):
        now = TimeStep(jnp.array(state), jnp.int32(0), jnp.zeros(()), jnp.array(not taken))
        action, _, phi = agent.act(None, phi, now, jr.key(0))
        taken.append(int(action))
    assert taken == [1, 0]


def test_the_task_is_constant():
    laws.task_is_constant_across_resets(random_mdp(num_states=3, num_actions=2, horizon=3))


@pytest.mark.parametrize("size", ["num_states", "num_actions", "horizon"])
def test_bad_sizes_are_named(size):
    with pytest.raises(ValueError, match=f"{size} must be positive, got 0"):
        random_mdp(**{size: 0})
