"""What is computed does not depend on how the run is cut, and what is not a number ends it."""

import dataclasses
import errno
import io
import json
import os
import signal
import sys

import jax
import numpy as np
import pytest
from tiny_recipe import PRESETS, Config, make

from metablocks.evaluate import adaptation_curve
from metablocks.experiment import checkpoint, plot, restore_best, scenery
from metablocks.experiment.errors import Interrupted, RunFailed
from metablocks.experiment.folder import write_json
from metablocks.experiment.progress import tell
from metablocks.experiment.run import Session, run

SMALL = PRESETS["small"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two seeds from the start to the end."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(*make(SMALL), SMALL, folder=folder, seeds=2)


@pytest.fixture(autouse=True)
def unpictured(monkeypatch):
    """Only the run above draws its pictures: they take a second."""
    monkeypatch.setattr(plot, "curve", lambda *args, unit: None)
    monkeypatch.setattr(plot, "trajectories", lambda *args, unit: None)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_lines_are_strict_json_of_the_documented_schema(whole):
    folder, outcome = whole
    texts = (folder / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(text, parse_constant=pytest.fail) for text in texts]
    assert lines == outcome.lines
    assert [line["update"] for line in lines] == [0, 10, 20, 30]
    assert [line["env_steps"] for line in lines] == [0, 80, 160, 240]
    assert [line["grad_steps"] for line in lines] == [0, 10, 20, 30]
    for line in lines:
        assert np.shape(line["eval/return"]) == np.shape(line["eval/return_stderr"]) == (2, 3)
        assert np.shape(line["eval/oracle"]) == (2,)
        assert ("loss" in line) == (line["update"] > 0)
        assert line["update"] == 0 or np.shape(line["norm"]) == (2,)
    wall = [line["wall_s"] for line in lines]
    assert wall == sorted(wall) and wall[0] > 0


def test_an_evaluation_is_the_mean_the_error_and_the_worst_of_the_held_out_returns(whole):
    _, outcome = whole
    _, agent, benchmark = make(SMALL)
    for row, seed in enumerate((0, 1)):
        key = jax.random.key(seed)
        tasks = benchmark.test(jax.random.fold_in(key, scenery.TASKS), SMALL.eval_tasks)
        k_trials = jax.random.fold_in(jax.random.fold_in(key, scenery.TRIALS), SMALL.num_updates)
        theta = jax.tree.map(lambda leaf, row=row: leaf[row], outcome.theta)
        returns, _ = adaptation_curve(
            agent, benchmark, theta, tasks, episodes=SMALL.eval_episodes, key=k_trials
        )
        last = outcome.lines[-1]
        error = returns.std(axis=0, ddof=1) / SMALL.eval_tasks**0.5
        np.testing.assert_allclose(last["eval/return"][row], returns.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(last["eval/return_stderr"][row], error, rtol=1e-3)
        np.testing.assert_allclose(last["eval/return_worst"][row], returns.min(axis=0), rtol=1e-4)


def test_a_metric_is_the_mean_since_the_last_evaluation(whole):
    learner, _, _ = make(SMALL)
    key = jax.random.key(1)
    state, losses = learner.init(jax.random.fold_in(key, 0)), []
    for i in range(20):
        k = jax.random.fold_in(jax.random.fold_in(key, 1), i)
        state, metrics = learner.update(state, k)
        losses.append(float(metrics["loss"]))
    assert whole[1].lines[2]["loss"][1] == pytest.approx(np.mean(losses[10:]), rel=1e-4)


@pytest.mark.parametrize("max_chunk", [1, 7])
def test_chunks_change_no_bit(whole, tmp_path, metrics, max_chunk):
    outcome = run(*make(SMALL), SMALL, folder=tmp_path, seeds=2, max_chunk=max_chunk)
    equal(outcome.theta, whole[1].theta)
    assert metrics(tmp_path) == metrics(whole[0])


def test_seeds_side_by_side_are_separate_runs(whole, tmp_path):
    alone = run(*make(SMALL), SMALL, folder=tmp_path, seed=1)
    both = whole[1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[1], rtol=1e-5), alone.theta, both.theta
    )
    for one, two in zip(alone.lines, both.lines, strict=True):
        assert np.shape(one["eval/return"]) == (1, 3)
        for name in ("eval/return", "eval/oracle", *(["loss"] if one["update"] else [])):
            np.testing.assert_allclose(one[name][0], two[name][1], rtol=1e-3)


def test_a_terminated_run_goes_on_bit_for_bit(whole, tmp_path, metrics, monkeypatch):
    advance = Session.advance

    def interrupt(session, stop):
        seconds = advance(session, stop)
        if session.update >= 14:
            signal.raise_signal(signal.SIGTERM)
        return seconds

    monkeypatch.setattr(Session, "advance", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(*make(SMALL), SMALL, folder=tmp_path, seeds=2, max_chunk=7)
    assert signal.getsignal(signal.SIGTERM) is before
    assert checkpoint.updates(tmp_path / "checkpoints") == [17]  # between two evaluations
    monkeypatch.setattr(Session, "advance", advance)
    outcome = run(*make(SMALL), SMALL, folder=tmp_path, seeds=2)
    equal(outcome.theta, whole[1].theta)
    assert metrics(tmp_path) == metrics(whole[0])
    assert outcome.lines[-1]["wall_s"] > outcome.lines[1]["wall_s"]


def test_a_longer_run_goes_on_from_a_shorter_one(whole, tmp_path, metrics):
    short = dataclasses.replace(SMALL, num_updates=20)
    run(*make(short), short, folder=tmp_path, seeds=2)
    run(*make(SMALL), SMALL, folder=tmp_path, seeds=2)
    assert metrics(tmp_path) == metrics(whole[0])


def test_the_pictures_the_summary_and_the_best_theta_are_there(whole):
    folder, outcome = whole
    for name in ("curve.png", "trajectories.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events*"))
    shares = json.loads((folder / "summary.json").read_text())["shares"]
    assert sum(shares.values()) <= 1.0 and {"training", "evaluation", "checkpoints"} <= set(shares)
    write_json(
        folder / "config.json",
        {"recipe": "tiny_recipe", "preset": "small", "config": {}, "seed": 0, "seeds": 2},
    )
    best = restore_best(folder, make(SMALL)[0])
    finals = [np.mean(line["eval/return"], axis=0)[-1] for line in outcome.lines]
    assert outcome.summary["best_return"] == pytest.approx(max(finals))
    if np.argmax(finals) == len(finals) - 1:
        equal(best, outcome.theta)
    assert best["w"].shape == (2, 3) and best["b"].dtype == "bfloat16"
    for seed in (0, 1):
        one = restore_best(folder, make(SMALL)[0], seed_index=seed)
        equal(one, jax.tree.map(lambda leaf: leaf[seed], best))  # noqa: B023
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"seed_index got {index}, expected 0 to 1"):
            restore_best(folder, make(SMALL)[0], seed_index=index)


def test_the_only_seed_of_a_run_is_its_first(tmp_path):
    cfg = dataclasses.replace(SMALL, num_updates=1)
    learner = make(cfg)[0]
    run(*make(cfg), cfg, folder=tmp_path)
    head = {"recipe": "tiny_recipe", "preset": "small", "config": {}, "seed": 0, "seeds": 1}
    write_json(tmp_path / "config.json", head)
    one = restore_best(tmp_path, learner, seed_index=0)
    like = jax.eval_shape(learner.init, jax.random.key(0)).theta
    equal(jax.tree.map(np.shape, one), jax.tree.map(np.shape, like))


def test_pictures_say_round_where_adaptation_takes_several_episodes(tmp_path, monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Rounds(Config):
        eval_shots: int = 2

    said = []
    for picture in ("curve", "trajectories"):
        monkeypatch.setattr(plot, picture, lambda *args, unit: said.append(unit))
    cfg = Rounds(num_updates=1, eval_tasks=1, eval_episodes=1)
    run(*make(cfg), cfg, folder=tmp_path)
    assert said == ["round", "round"]


def test_a_full_disk_on_stdout_does_not_cost_the_run(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "no space left on device")

        def fileno(self):
            return place.fileno()

    with (tmp_path / "out").open("w") as place:
        monkeypatch.setattr(sys, "stdout", Full())
        tell("a line")
        assert os.path.samestat(os.fstat(place.fileno()), os.stat(os.devnull))


def test_a_metric_that_is_not_finite_is_named(tmp_path):
    cfg = dataclasses.replace(SMALL, nan_at=24)
    with pytest.raises(RunFailed) as failure:
        run(*make(cfg), cfg, folder=tmp_path, seed=5, seeds=2, save_interval_s=0.0)
    line = str(failure.value)
    assert line.startswith("loss is not finite at update 23 of seed 5:")
    assert "\n" not in line and "update 20" in line
    assert checkpoint.updates(tmp_path / "checkpoints") == [20, 10]


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    cfg = dataclasses.replace(SMALL, nan_state_at=20)
    with pytest.raises(RunFailed, match=r"state replay is not finite at update 20 of seed 0"):
        run(*make(cfg), cfg, folder=tmp_path, save_interval_s=0.0)
    assert checkpoint.updates(tmp_path / "checkpoints") == [10, 0]


def test_metrics_are_scalars(tmp_path):
    learner, agent, benchmark = make(Config())

    def update(state, key):
        state, metrics = learner.update(state, key)
        return state, metrics | {"vector": state.theta["w"]}

    with pytest.raises(TypeError, match=r"'vector' has the shape \(3,\)"):
        run(learner._replace(update=update), agent, benchmark, SMALL, folder=tmp_path)
