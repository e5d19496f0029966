"""The recorded runs are whole, and none gets more than the Bayes-optimal agent.

More than that would be a leaking task.
"""

import importlib.util
import json
import shutil
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


@pytest.fixture(scope="module")
def record():
    """The module results/record.py."""
    spec = importlib.util.spec_from_file_location("record", RESULTS / "record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_record_is_of_a_finished_run(record):
    runs = [path.parent for path in RESULTS.glob("*/metrics.jsonl")]
    assert runs and [run.name for run in runs if not record.finished(run)] == []


def test_a_run_that_goes_on_is_not_recorded(record, tmp_path):
    run = shutil.copytree(RECORDS[0].parent, tmp_path / "run")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    last["eval/return"][0][0] += 1.0
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps(last) + "\n")
    with pytest.raises(SystemExit, match="wait until the run has ended"):
        record.record(run, "not-recorded")
    assert not (RESULTS / "not-recorded").exists()


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
