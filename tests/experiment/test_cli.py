"""Bad input is one line that says what to do, and exit status 2; nothing is lost by it."""

import json
import os
import shlex
import shutil
import sys

import jax.numpy as jnp
import jax.random as jr
import pytest
from tiny_recipe import PRESETS, make

from metablocks.experiment import main, options
from metablocks.experiment.errors import UserError
from metablocks.experiment.folder import updates
from metablocks.experiment.provenance import command
from metablocks.trees import minibatches


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder of `small`, made from the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    main(make, PRESETS, ["small", "--lr", "0.02", "--seed=3", "--out", str(folder)])
    return folder


def refused(capsys, argv):
    """The one line that a command is refused with."""
    with pytest.raises(SystemExit) as stop:
        main(make, PRESETS, [str(word) for word in argv])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    "argv, parts",
    [
        ([], ["no preset given", "small, long"]),
        (["smal"], ["'smal'", "did you mean small?", "small, long"]),
        (["zzz"], ["'zzz'", "there are: small, long"]),
        (["small", "long"], ["'long'", "after the preset 'small'"]),
        (["small", "--lr", "fast"], ["--lr", "'fast'", "a number"]),
        (["small", "--lr", "nan"], ["--lr got nan", "a finite number"]),
        (["small", "--lr", "1e39"], ["--lr got 1e+39", "a finite number of 32 bits"]),
        (["small", "--shift", "maybe"], ["--shift got 'maybe'", "true or false"]),
        (["small", "--no-shift", "maybe"], ["'maybe'", "after the preset 'small'"]),
        (["small", "--shift", "true", "maybe"], ["'maybe'", "after the preset 'small'"]),
        (["small", "--shift=true", "maybe"], ["'maybe'", "after the preset 'small'"]),
        (
            ["small", "--shift", "--nan-state-at", "3"],
            ["--nan-state-at has no effect with --shift True"],
        ),
        (["small", "--lr"], ["--lr needs a value"]),
        (["small", "--lr", "--seed", "1"], ["--lr needs a value"]),
        (["small", "--num-updates", "2.5"], ["--num-updates", "'2.5'", "a whole number"]),
        (["small", "--num-updates", "0"], ["--num-updates got 0", "at least 1"]),
        (["small", "--eval-every", "-1"], ["--eval-every got -1", "at least 1"]),
        (["small", "--horizon", "0"], ["--horizon got 0", "at least 1"]),
        (["small", "--nan-at", "-4"], ["--nan-at got -4", "0 or more"]),
        (["small", "--seeds", "0"], ["--seeds got 0", "at least 1"]),
        (["small", "--seed", "-1"], ["--seed got -1", "0 or more"]),
        (["small", "--seed", "99999999999"], ["--seed got 99999999999", "less than 2**31"]),
        (["small", "--seed", "2147483647", "--seeds", "2"], ["--seed got 2147483647", "2 seeds"]),
        (["small", "--save-every-s", "-1"], ["--save-every-s got -1.0", "0 or more"]),
        (["small", "--noise", "loud"], ["--noise", "'loud'", "one of low, high"]),
        (["small", "--shift=7"], ["--shift", "'7'", "true or false"]),
        (["small", "--num-updats", "5"], ["--num-updats", "did you mean --num-updates?"]),
        (["small", "-x", "3"], ["unknown option -x", "--"]),
        (["small", "--lr", "1", "--lr=2"], ["--lr is given twice"]),
        (["small", "--out="], ["--out", "''"]),
        (["small", "--lr", "2"], ["small: --lr must be at most 1, got 2.0"]),
        (["small", "--out", "/proc/here"], ["/proc/here", "cannot write there"]),
        (["--resume", "/nowhere/at/all"], ["/nowhere/at/all", "no such run folder"]),
        (["--resume", "."], ["not a run folder"]),
    ],
)
def test_bad_input(capsys, tmp_path, monkeypatch, argv, parts):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, argv)
    for part in parts:
        assert part in line
    assert not os.listdir(tmp_path)


def test_a_run_is_never_overwritten(capsys, finished, tmp_path):
    before = (finished / "metrics.jsonl").read_bytes()
    assert "never overwritten" in refused(capsys, ["small", "--out", finished])
    assert (finished / "metrics.jsonl").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    assert "expected a folder" in refused(capsys, ["small", "--out", tmp_path / "file"])


@pytest.mark.parametrize(
    "words, part",
    [
        (["long"], "preset long conflicts"),
        (["--lr", "0.5"], "--lr 0.5 conflicts"),
        (["--seed", "4"], "--seed 4 conflicts"),
        (["--num-updates", "10"], "--num-updates 10 conflicts"),
        (["--out", "elsewhere"], "exclude each other"),
    ],
)
def test_a_resume_that_conflicts_is_refused(capsys, finished, words, part):
    before = (finished / "config.json").read_bytes()
    assert part in refused(capsys, [*words, "--resume", finished])
    assert (finished / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "change, part",
    [
        ({"recipe": "pearl"}, "a run of the recipe 'pearl'"),
        ({"config": {"num_updates": 3}}, "differ in"),
        ({"seeds": 2}, "does not fit"),
    ],
)
def test_a_folder_of_another_program_is_refused(capsys, finished, tmp_path, change, part):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert part in refused(capsys, ["--resume", folder])


@pytest.mark.parametrize(
    "change", [{"config": 3}, {"seed": "a"}, {"seeds": -2}, {"recipe": ["tiny_recipe"]}], ids=str
)
def test_a_config_of_other_types_is_refused(capsys, finished, tmp_path, change):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    line = refused(capsys, ["--resume", folder])
    assert f"its config.json cannot be read (TypeError: {next(iter(change))})" in line


def test_the_command_to_go_on_names_the_interpreter_unless_python_is_the_same(
    monkeypatch, tmp_path
):
    """An environment's python links to the one that made it, which knows none of its packages."""
    (link := tmp_path / "python").symlink_to(sys.executable)
    mine = sys.executable
    for found, word in ((mine, "python"), (str(link), mine), (None, mine)):
        monkeypatch.setattr(shutil, "which", lambda name, found=found: found)
        assert shlex.split(command(["--resume", "x"]))[0] == word


def without_checkpoints(finished, folder):
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("checkpoints"))
    (folder / "checkpoints" / "0.tmp").mkdir(parents=True)  # a first save that a kill cut short
    return folder


@pytest.mark.parametrize("older", [False, True])
def test_a_record_without_a_checkpoint_is_refused_and_stays_as_it_is(
    capsys, finished, tmp_path, older
):
    folder = without_checkpoints(finished, tmp_path / "record")
    if older:  # of a code with other numbers: the reason is the same
        config = json.loads((folder / "config.json").read_text())
        del config["config"]["lr"]
        (folder / "config.json").write_text(json.dumps(config))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert "a checkpoint to go on from" in refused(capsys, ["--resume", folder])
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_killed_before_its_first_checkpoint_starts_over(capsys, finished, tmp_path, metrics):
    folder = without_checkpoints(finished, tmp_path / "killed")
    (folder / "summary.json").unlink()
    next((folder / "best").iterdir()).rename(folder / "best" / "999")  # of a longer run
    main(make, PRESETS, ["--resume", str(folder)])
    assert metrics(folder) == metrics(finished)
    assert "no checkpoint to go on from: starting over" in capsys.readouterr().out
    assert updates(folder / "best") == updates(finished / "best")


def test_a_best_agent_without_metrics_is_dropped_aloud(capsys, finished, tmp_path):
    folder = without_checkpoints(finished, tmp_path / "killed")
    for name in ("summary.json", "metrics.jsonl"):
        (folder / name).unlink()
    main(make, PRESETS, ["--resume", str(folder)])
    assert "no checkpoint to go on from: starting over" in capsys.readouterr().out


def test_a_config_out_of_range_is_refused_whatever_is_given(capsys, finished, tmp_path):
    for number, argv in ((-3, []), ("30", ["--num-updates", "40"])):
        folder = tmp_path / str(number)
        shutil.copytree(finished, folder)
        config = json.loads((folder / "config.json").read_text())
        config["config"]["num_updates"] = number
        (folder / "config.json").write_text(json.dumps(config))
        line = refused(capsys, [*argv, "--resume", folder])
        assert f"its config.json is damaged: num_updates got {number!r}" in line


def test_only_what_can_be_resumed_is_offered(capsys, finished, tmp_path):
    """A run killed while it compiled can; a record, or a folder of other things, cannot."""
    record = without_checkpoints(finished, tmp_path / "record")
    killed, other = tmp_path / "killed", tmp_path / "other"
    killed.mkdir()
    shutil.copy(finished / "config.json", killed)
    other.mkdir()
    (other / "notes").touch()
    headless = tmp_path / "headless"  # its config.json was lost
    shutil.copytree(finished, headless, ignore=shutil.ignore_patterns("config.json"))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_text('{"model_type": "bert"}')
    for folder, offered in [
        (finished, True), (killed, True), (record, False), (other, False), (headless, False),
        (damaged, False),
    ]:  # fmt: skip
        assert (f"--resume {folder}" in refused(capsys, ["small", "--out", folder])) == offered


def test_a_folder_in_use_is_refused(capsys, finished):
    from metablocks.experiment.folder import lock

    held = lock(finished)
    assert "another process" in refused(capsys, ["--resume", finished])
    held.close()


def test_a_resume_with_the_same_numbers_or_more_updates_goes_on(capsys, finished, metrics):
    argv = ["small", "--lr", "0.02", "--num-updates", "35", "--resume", str(finished)]
    main(make, PRESETS, argv)
    assert [line["update"] for line in metrics(finished)] == [0, 10, 20, 30, 35]
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["num_updates"] == 35 and config["config"]["lr"] == 0.02
    assert config["recipe"] == "tiny_recipe" and config["seed"] == 3 and len(config["resumes"])
    pictures = [f"picture: {finished / name}" for name in ("curve.png", "trajectories.png")]
    assert capsys.readouterr().out.splitlines()[-3:] == [f"run folder: {finished}", *pictures]


def test_a_failure_of_the_numbers_is_one_line_and_status_1(capsys, tmp_path):
    argv = ["small", "--nan-at", "12", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main(make, PRESETS, argv)
    assert stop.value.code == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "loss is not finite at update 11 of seed 0" in line


@pytest.mark.parametrize("argv", [["--help"], ["long", "--help"]])
def test_help_explains_each_number(capsys, argv):
    main(make, PRESETS, argv)
    text = capsys.readouterr().out
    for words in ("How many updates to train", "Step size of the regression", "The first seed"):
        assert words in text
    assert ("default: 4000" in text) == (argv[0] == "long")


def test_the_logarithm_of_a_scale_has_any_sign_and_a_range():
    options.check({"log_scale": -1.0}, {"log_scale": float}, {})
    for far in (-11.0, 5.0):
        with pytest.raises(UserError, match="from -10 to 3"):
            options.check({"log_scale": far}, {"log_scale": float}, {})
    with pytest.raises(UserError, match="0 or more"):
        options.check({"reward_scale": -1.0}, {"reward_scale": float}, {})


@pytest.mark.parametrize(
    ("name", "good", "bad", "expected"),
    [
        ("gamma", 1.0, 1.5, "from 0 to 1"),
        ("tau", 0.0, 2.0, "from 0 to 1"),
        ("lr_end", 0.1, -0.1, "from 0 to 1"),
        ("vae_lr", 0.0, -1.0, "0 or more"),
        ("alpha", 0.2, -1.0, "above 0"),
        ("kl_coef", 0.0, -1.0, "0 or more"),
        ("scale_share", 0.0, -0.1, "0 or more"),
        ("kl_target", 0.0, -1.0, "0 or more"),
        ("later_steps", 1.0, -3.0, "from 0 to 1"),
        ("minibatches", 1, 0, "at least 1"),
        ("epochs", 1, 0, "at least 1"),
        ("memory", 1, 0, "at least 1"),
        ("vae_capacity", 1, 0, "at least 1"),
        ("meta_batch", 1, 2**31, "less than"),
    ],
)
def test_a_rate_out_of_range_is_named(name, good, bad, expected):
    kinds = {name: type(good)}
    options.check({name: good}, kinds, {})
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} got {bad}.*{expected}"):
        options.check({name: bad}, kinds, {})


def test_a_block_s_word_on_a_number_names_the_option():
    names = ["meta_batch", "num_train_tasks", "epochs", "radius", "vae_batch", "elbo_terms"]
    said = lambda message: options.as_options(message, names)
    assert said("meta_batch must be at most num_train_tasks (100), got 200") == (
        "--meta-batch must be at most --num-train-tasks (100), got 200"
    )
    assert said("radius must be above 0") == "--radius must be above 0"
    assert said("terms must be at most 3") == "--elbo-terms must be at most 3"
    assert said("batch is empty") == "batch is empty"  # of the two that end so
    assert said("epochs go on too long") == "epochs go on too long"
    assert said("a radius for epochs of Adam") == "a radius for epochs of Adam"


def test_a_block_s_word_on_a_number_is_one_line_also_when_it_is_first_heard_in_the_run(
    capsys, tmp_path
):
    """What only tracing finds out: a `ValueError` of this package; a library's keeps its trace."""

    def initialising(raising):
        def made(cfg):
            learner, agent, benchmark = make(cfg)
            return learner._replace(init=lambda key: raising()), agent, benchmark

        return made

    bad = lambda: minibatches(5, epochs=1, num=2, key=jr.key(0))
    with pytest.raises(SystemExit) as stop:
        main(initialising(bad), PRESETS, ["small", "--out", str(tmp_path / "a")])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line == "error: small: 5 rows cannot be shared out into 2 equal minibatches\n"
    broken = lambda: jnp.zeros(2) @ jnp.zeros(3)
    with pytest.raises(TypeError):
        main(initialising(broken), PRESETS, ["small", "--out", str(tmp_path / "b")])
