"""A run that is killed at any moment ends as if it had not been."""

import fcntl
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_recipe import PRESETS, make

from metablocks.experiment import checkpoint, main

NUMBERS = ["long", "--num-updates", "1600", "--seeds", "2"]


def begin(folder, recipe, log, resume):
    """The recipe in a process of its own; returns once it has saved something new."""
    words = ["--resume", str(folder)] if resume else [*NUMBERS, "--out", str(folder)]
    process = subprocess.Popen(
        [sys.executable, str(recipe), *words, "--save-every-s", "0"],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    saved = lambda: checkpoint.updates(folder / "checkpoints")[:1]
    before, deadline = saved(), time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if saved() != before:
            return process
        time.sleep(0.01)
    pytest.fail(f"the run did not start: {Path(log.name).read_text()[-2000:]}")


def test_killed_and_interrupted_runs_end_bit_for_bit(tmp_path, metrics):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    main(make, PRESETS, [*NUMBERS, "--out", str(whole)])
    recipe = shutil.copy(Path(__file__).with_name("tiny_recipe.py"), tmp_path / "tiny_recipe.py")
    chance = random.Random(0)
    with (tmp_path / "log").open("w+") as log:
        for attempt in range(3):
            process = begin(folder, recipe, log, resume=attempt > 0)
            time.sleep(chance.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL if attempt < 2 else signal.SIGINT)
            assert process.wait(30) == (-signal.SIGKILL if attempt < 2 else 130)
        assert metrics(folder)[-1]["update"] < 1600
        text = (tmp_path / "log").read_text()
        assert text.count("going on from update") == 2
        command = text.rsplit("to go on: ", 1)[1].splitlines()[0]
        done = subprocess.run(shlex.split(command), cwd=os.getcwd(), stdout=log, stderr=log)
    assert done.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert metrics(folder) == metrics(whole)


@pytest.mark.parametrize("target", ["a closed pipe", "a full disk"])
def test_help_that_cannot_be_written_ends_in_one_line_at_most(target):
    """Also where stdout is buffered, and what is left of it is written at the very end."""
    recipe, piped = Path(__file__).with_name("tiny_recipe.py"), target == "a closed pipe"
    reader, out = os.pipe()
    if piped:
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 4096)  # less than the help: its writer waits
    else:
        os.close(out)
        out = os.open("/dev/full", os.O_WRONLY)
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    buffered["COLUMNS"] = "200" if piped else "60"  # more than the pipe's, less than a buffer's
    process = subprocess.Popen(
        [sys.executable, str(recipe), "--help"], stdout=out, stderr=subprocess.PIPE, env=buffered
    )
    os.close(out)
    if piped:
        os.read(reader, 1)
    os.close(reader)
    said = [
        line.partition(b": what")[0] for line in process.communicate(timeout=60)[1].splitlines()
    ]
    assert process.returncode == 1
    assert said == ([] if piped else [b"error: [Errno 28] No space left on device"])


def test_a_reader_of_its_lines_that_goes_away_costs_a_run_nothing(tmp_path):
    """As in `recipe | head`: the interrupt, and what is said of it, comes after the pipe's end."""
    recipe = shutil.copy(Path(__file__).with_name("tiny_recipe.py"), tmp_path / "tiny_recipe.py")
    folder = tmp_path / "run"
    words = ["long", "--num-updates", "100000000", "--out", str(folder), "--save-every-s", "1e9"]
    process = subprocess.Popen([sys.executable, str(recipe), *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while not process.stdout.readline().startswith(b"update 0/"):
        assert process.poll() is None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert checkpoint.updates(folder / "checkpoints")
