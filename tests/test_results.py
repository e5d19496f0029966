"""The recorded runs: none gets more than the Bayes-optimal agent, which would be a leaking task."""

import json
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
import pytest

from metablocks.envs import catalogue
from metablocks.evaluate import adaptation_curve, oracle_return
from metablocks.oracles import bandit

BOUNDED = ("gridworld", "bandit")
"""The worlds whose Bayes-optimal value is known."""


def world(path):
    return json.loads((path.parent / "config.json").read_text())["config"]["benchmark"]


RESULTS = Path(__file__).parents[1] / "results"
RECORDS = [path for path in sorted(RESULTS.glob("*/metrics.jsonl")) if world(path) in BOUNDED]


def excess(returns, errors, bayes):
    """By how many standard errors the return of a whole trial exceeds the Bayes-optimal one's.

    The errors of a trial's episodes add up at most.
    """
    return (np.sum(returns) - np.sum(bayes)) / np.sum(errors)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_no_recorded_agent_beats_the_bayes_optimal_one(path):
    bayes = catalogue.benchmark(world(path)).bayes
    last = json.loads(path.read_text().splitlines()[-1])
    returns, errors = np.array(last["eval/return"]), np.array(last["eval/return_stderr"])
    assert returns.shape[1] == len(bayes)
    seeds = len(returns)
    assert excess(returns.mean(axis=0), errors.mean(axis=0) / seeds**0.5, bayes) < 3


@pytest.mark.parametrize("name", BOUNDED)
def test_the_watch_would_catch_an_agent_that_is_told_the_task(name):
    benchmark = catalogue.benchmark(name)
    tasks = benchmark.test(jr.key(0), 400)
    told = oracle_return(benchmark, tasks, key=jr.key(1))
    leaked = np.repeat(np.asarray(told)[:, None], len(benchmark.bayes), axis=1)
    errors = leaked.std(axis=0) / len(leaked) ** 0.5
    assert excess(leaked.mean(axis=0), errors, benchmark.bayes) > 3


@pytest.mark.parametrize("make", [bandit.uniform, bandit.greedy, bandit.thompson, bandit.ucb1])
def test_no_known_agent_beats_the_bayes_optimal_one_either(make):
    benchmark, agent = catalogue.benchmark("bandit"), make(5)
    tasks = benchmark.test(jr.key(0), 2000)
    returns, _ = jax.jit(
        lambda key: adaptation_curve(agent, benchmark, None, tasks, episodes=1, key=key)
    )(jr.key(1))
    errors = returns.std(axis=0) / len(returns) ** 0.5
    assert excess(returns.mean(axis=0), errors, benchmark.bayes) < 3
