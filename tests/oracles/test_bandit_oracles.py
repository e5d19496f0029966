"""The dynamic program over counts against brute force, and the agents that count."""

import functools
import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.envs.bandit import bernoulli_bandit
from metablocks.evaluate import adaptation_curve, trial
from metablocks.oracles import bandit
from metablocks.types import TimeStep

TASKS = 4000


def brute_force(num_arms, pulls):
    """The value of the best policy over counts, by plain recursion."""

    @functools.cache
    def value(counts):
        if sum(counts) == pulls:
            return 0.0
        worth = []
        for arm in range(num_arms):
            paid, lost = list(counts), list(counts)
            paid[2 * arm] += 1
            lost[2 * arm + 1] += 1
            mean = paid[2 * arm] / (2 + counts[2 * arm] + counts[2 * arm + 1])
            worth.append(mean * (1 + value(tuple(paid))) + (1 - mean) * value(tuple(lost)))
        return max(worth)

    return value((0,) * (2 * num_arms))


def mean_return(agent, benchmark, num=TASKS):
    tasks = benchmark.test(jr.key(0), num)
    curve = jax.jit(
        lambda key: adaptation_curve(agent, benchmark, None, tasks, episodes=1, key=key)
    )
    returns, _ = curve(jr.key(1))
    return float(returns.mean()), float(returns.std()) / num**0.5


@pytest.mark.parametrize(("total", "parts"), [(0, 4), (3, 4), (2, 6), (5, 2)])
def test_the_rank_of_a_composition_is_its_place_in_the_list(total, parts):
    listed = bandit._compositions(total, parts)
    every = [c for c in itertools.product(range(total + 1), repeat=parts) if sum(c) == total]
    assert [tuple(row) for row in listed] == every
    ranks = bandit._rank(listed, bandit._binomials(total + parts + 1))
    np.testing.assert_array_equal(ranks, np.arange(len(every)))


@pytest.mark.parametrize(("num_arms", "pulls"), [(2, 1), (2, 4), (3, 5)])
def test_the_dynamic_program_equals_brute_force(num_arms, pulls):
    _, value = bandit.bayes_optimal(num_arms, pulls)
    assert value == pytest.approx(brute_force(num_arms, pulls), abs=1e-12)


def test_one_pull_is_worth_a_half_and_five_arms_and_ten_pulls_the_known_value():
    assert bandit.bayes_optimal(4, 1)[1] == pytest.approx(0.5)
    value = bandit.bayes_optimal(5, 10)[1]
    assert value == pytest.approx(6.660, abs=5e-4)
    assert bernoulli_bandit().bayes == (pytest.approx(value, abs=1e-6),)  # what runs are held to


def test_the_bayes_optimal_agent_gets_what_the_program_says_and_none_gets_more():
    benchmark = bernoulli_bandit(num_arms=3, pulls=8)
    optimal, value = bandit.bayes_optimal(3, 8)
    mean, error = mean_return(optimal, benchmark)
    assert abs(mean - value) < 4 * error
    others = (bandit.uniform(3), bandit.greedy(3), bandit.thompson(3), bandit.ucb1(3, width=0.3))
    for agent in others:
        assert mean_return(agent, benchmark)[0] < value + 3 * error


def test_uniform_gets_a_half_per_pull():
    mean, error = mean_return(bandit.uniform(5), bernoulli_bandit())
    assert abs(mean - 5.0) < 4 * error
    agent = bandit.uniform(5)
    now = TimeStep(jnp.zeros(1), jnp.int32(0), jnp.zeros(()), jnp.array(True))
    acts = jax.vmap(lambda key: agent.act(None, agent.prior(None, key), now, key)[0])
    assert len(np.unique(acts(jr.split(jr.key(0), 100)))) == 5  # any one arm gets a half too


def test_the_told_agent_gets_the_largest_of_the_probabilities():
    benchmark = bernoulli_bandit(num_arms=3, pulls=4)
    agent = benchmark.oracle
    tasks = benchmark.test(jr.key(0), 500)

    def one(task, key):
        one_task = jax.tree.map(lambda leaf: leaf[None], task)
        told = agent(task)
        return adaptation_curve(told, benchmark, None, one_task, episodes=1, key=key)[0][0, 0]

    returns = jax.jit(jax.vmap(one))(tasks, jr.split(jr.key(2), 500))
    np.testing.assert_allclose(returns.mean(), 4 * tasks.probs.max(axis=1).mean(), rtol=0.05)


def test_counting_folds_every_pull_once():
    chosen = bandit.counting(2, lambda counts, key: jnp.int32(1))
    benchmark = bernoulli_bandit(num_arms=2, pulls=6)
    tasks = benchmark.test(jr.key(0), 1)
    task = jax.tree.map(lambda leaf: leaf[0], tasks)
    phi, rows = trial(
        chosen, benchmark.env, None, chosen.prior(None, jr.key(0)), task,
        episodes=2, horizon=6, key=jr.key(1),
    )  # fmt: skip
    paid = np.asarray(rows.reward).ravel()[:-1]  # the last pull is folded in by the next act
    assert int(phi.successes[1]) == paid.sum() and int(phi.failures[1]) == 11 - paid.sum()
    assert int(phi.successes[0]) == int(phi.failures[0]) == 0


def test_ucb1_pulls_the_arm_of_the_highest_bound():
    agent = bandit.ucb1(2, width=1.0)
    counts = bandit.Counts(jnp.array([3, 0]), jnp.array([1, 0]), jnp.array(False))
    benchmark = bernoulli_bandit(num_arms=2)
    obs, _ = benchmark.env.reset(jr.key(0), benchmark.env.default_params)
    step = TimeStep(obs, jnp.int32(0), jnp.zeros(()), jnp.array(True))
    # bounds: 4/6 + sqrt(2 ln 8 / 6) = 1.499, 1/2 + sqrt(2 ln 8 / 2) = 1.942
    assert int(agent.act(None, counts, step, jr.key(0))[0]) == 1
    narrow = bandit.ucb1(2, width=0.1)
    assert int(narrow.act(None, counts, step, jr.key(0))[0]) == 0


@pytest.mark.parametrize("make", [bandit.uniform, bandit.greedy, bandit.thompson, bandit.ucb1])
def test_an_oracle_obeys_the_law_of_agents(make):
    benchmark = bernoulli_bandit(num_arms=2, pulls=3)
    laws.agent_preserves_structure(make(2), benchmark, None, shots=1, num_steps=3, examples=1)


def test_too_many_counts_are_refused():
    with pytest.raises(ValueError, match=r"5 arms and 100 pulls have .* counts"):
        bandit.bayes_optimal(5, 100)
