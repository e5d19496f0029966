"""`main`: a recipe's command line, the same for every recipe."""

import dataclasses
import errno
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from metablocks.experiment import folder as folders
from metablocks.experiment.errors import Interrupted, RunFailed, UserError, explained
from metablocks.experiment.options import (
    Command,
    RunOptions,
    as_options,
    flag,
    have_effect,
    parse,
    show_help,
)
from metablocks.experiment.progress import hush, tell
from metablocks.experiment.provenance import command, device, program_name, provenance, recorded
from metablocks.types import Agent, Benchmark, Learner

Make = Callable[[Any], tuple[Learner, Agent, Benchmark]]


class Plan(NamedTuple):
    """What will be run, where."""

    preset: str
    cfg: Any
    seed: int
    seeds: int
    resume: bool


def main(make: Make, presets: dict[str, Any], argv: list[str] | None = None) -> None:
    """Runs a recipe from its command line; bad input is one line on stderr and exit status 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    place: list[Path] = []
    try:
        start(make, presets, argv, place)
    except (UserError, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.status) from None
    except Interrupted as stop:
        tell(f"interrupted: saved in {place[0]}")
        tell(f"to go on: {command(['--resume', str(place[0])])}")
        raise SystemExit(stop.status) from None
    except KeyboardInterrupt:
        print("interrupted: nothing more was saved", file=sys.stderr, flush=True)
        raise SystemExit(Interrupted.status) from None
    except BrokenPipeError:  # the reader of --help has gone
        hush()
        raise SystemExit(RunFailed.status) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        hush()
        print(f"error: {error}: what was saved before is whole", file=sys.stderr, flush=True)
        raise SystemExit(RunFailed.status) from None


def start(make: Make, presets: dict[str, Any], argv: list[str], place: list[Path]) -> None:
    """Reads the command line, prepares the folder, runs, and says where the results lie."""
    recipe = Path(inspect.getfile(inspect.unwrap(make))).stem
    asked = parse(argv, presets)
    if asked.help:
        story = (getattr(sys.modules.get(make.__module__), "__doc__", "") or "").strip()
        return show_help(program_name(), story.split("\n\n")[0], presets, asked.preset)
    try:
        plan = resumed(asked, presets, recipe) if asked.options.resume else fresh(asked, presets)
        blocks = make(plan.cfg)
    except UserError:
        raise
    except ValueError as error:
        line = next(iter(str(error).splitlines()), "a number is refused")
        raise refused(asked.preset or recipe, line, presets) from None
    path = prepared(asked.options, plan, recipe)
    held = folders.lock(path)
    place.append(path)
    folders.write_json(path / "config.json", description(recipe, plan, argv, path))
    from metablocks.experiment.run import run

    tell(f"{recipe} {plan.preset} · {device()} · {path}")
    try:
        outcome = run(
            *blocks, plan.cfg, folder=path, seed=plan.seed, seeds=plan.seeds,
            save_interval_s=asked.options.save_every_s,
        )  # fmt: skip
    except (ValueError, OverflowError, RuntimeError) as error:
        line = explained(error)
        if line is None:
            raise
        if not plan.resume:
            folders.discard(path)
        raise refused(plan.preset, line, presets) from None
    closing(path, outcome.summary)
    del held


def refused(preset: str, message: str, presets: dict[str, Any]) -> UserError:
    """What a block said of a preset's numbers, in one line."""
    names = [field.name for field in dataclasses.fields(next(iter(presets.values())))]
    return UserError(f"{preset}: {as_options(message, names)}")


def fresh(asked: Command, presets: dict[str, Any]) -> Plan:
    """A new run of a preset, with the numbers that were given instead of its own."""
    if asked.preset is None:
        raise UserError(f"no preset given: name one of {', '.join(presets)}; see --help")
    cfg = dataclasses.replace(presets[asked.preset], **asked.numbers)
    have_effect(cfg, asked.numbers)
    return Plan(asked.preset, cfg, asked.options.seed, asked.options.seeds, resume=False)


def resumed(asked: Command, presets: dict[str, Any], recipe: str) -> Plan:
    """The run that a folder holds; what was given beside it must agree or be more updates."""
    path = Path(asked.options.resume)
    if "out" in asked.given:
        raise UserError(f"--out and --resume {path} exclude each other: give one of them")
    try:
        saved = folders.read_config(path)
    except UserError as error:
        raise UserError(f"--resume {error}") from None
    if saved["recipe"] != recipe:
        raise UserError(
            f"--resume {path}: a run of the recipe {saved['recipe']!r}, expected one of "
            f"{recipe!r}; resume it with {saved['recipe']}.py"
        )
    if not folders.resumable(path):
        raise UserError(
            f"--resume {path}: a finished record without a checkpoint to go on from (those under "
            "results/ keep none); start a new run"
        )
    kind = type(next(iter(presets.values())))
    odd = sorted({field.name for field in dataclasses.fields(kind)} ^ set(saved["config"]))
    if odd:
        raise UserError(
            f"--resume {path}: its config and this recipe differ in {', '.join(odd)}; "
            "resume with the code that wrote it"
        )
    try:
        cfg = kind(**saved["config"])
    except ValueError as error:
        raise UserError(f"--resume {path}: its config.json is damaged: {error}") from None
    given = {"preset": asked.preset} if asked.preset else {}
    given |= asked.numbers | {n: getattr(asked.options, n) for n in asked.given}
    agree(path, given, saved | dataclasses.asdict(cfg))
    cfg = dataclasses.replace(cfg, num_updates=given.get("num_updates", cfg.num_updates))
    return Plan(saved["preset"], cfg, saved["seed"], saved["seeds"], resume=True)


def agree(path: Path, given: dict[str, Any], saved: dict[str, Any]) -> None:
    """Nothing given contradicts the saved run, except that `num_updates` may grow."""
    for name, value in given.items():
        if name in ("resume", "save_every_s") or value == saved[name]:
            continue
        if name == "num_updates" and value > saved[name]:
            continue
        word = "preset" if name == "preset" else flag(name)
        hint = "a larger number" if name == "num_updates" else "leave it out"
        raise UserError(
            f"{word} {value} conflicts with {path}, where it is {saved[name]}: {hint}, "
            "or start a new run"
        )


def prepared(options: RunOptions, plan: Plan, recipe: str) -> Path:
    """The folder to write into."""
    if plan.resume:
        return Path(options.resume)
    return folders.create(
        Path(options.out) if options.out else folders.fresh_name(recipe, plan.preset)
    )


def description(recipe: str, plan: Plan, argv: list[str], path: Path) -> dict[str, Any]:
    """The content of config.json: what was run, with what, on what, and how it was resumed."""
    if plan.resume:
        saved = folders.read_config(path)
        resumes = [*saved.get("resumes", []), recorded(argv)]
        return saved | {"config": dataclasses.asdict(plan.cfg), "resumes": resumes}
    asked = {"recipe": recipe, "preset": plan.preset, "config": dataclasses.asdict(plan.cfg)}
    return asked | {"seed": plan.seed, "seeds": plan.seeds} | provenance(argv)


def closing(path: Path, summary: dict[str, Any]) -> None:
    """The last lines: where the time went, the folder, its pictures."""
    shares = summary["shares"]
    costs = ("start", "evaluation", "logging", "checkpoints", "pictures")
    parts = [f"{name} {shares.get(name, 0):.1%}" for name in ("training", "compilation", *costs)]
    tell("time: " + " · ".join(parts))
    tell(f"run folder: {path}")
    for picture in sorted(path.glob("*.png")):
        tell(f"picture: {picture}")
