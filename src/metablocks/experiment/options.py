"""The command line, made of a recipe's presets: values, or one clear line about a bad one."""

import dataclasses
import difflib
import math
import re
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from metablocks.experiment.errors import UserError

POSITIVE = re.compile(
    r"^(num|eval)_|_(every|batch|dim|size|width|steps|episodes|tasks)$"
    r"|^(seeds|horizon|batch|meta_batch|shots|width|depth|hidden|memory|epochs|minibatches)$"
    r"|(^|_)capacity$|_depth$"
)
"""Integers whose names say that they count something there must be at least one of.

A count that a preset itself leaves at 0 may be 0.
"""
RANGES = (
    (
        re.compile(r"^(gamma|lam|tau|lr_end|entropy_end|later_steps|dice_decay)$"),
        "a number from 0 to 1",
    ),
    (re.compile(r"(^|_)lr$|^(alpha|epsilon|max_grad_norm)$"), "a number above 0"),
    (re.compile(r"_(coef|scale|target|share)$(?<!log_scale)"), "0 or more"),
    (re.compile(r"^log_scale$"), "a number from -10 to 3"),
)
"""What a real number must be, by its name."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How to run it: the same for every recipe."""

    seed: int = 0
    """The first seed."""
    seeds: int = 1
    """How many seeds to train side by side, in one program: SEED, SEED + 1, ..."""
    out: str = ""
    """The run folder, new or empty (by default a fresh one under runs/)."""
    resume: str = ""
    """A run folder to go on with: its preset and numbers are read from its config.json."""
    save_every_s: float = 30.0
    """The least number of seconds between two checkpoints."""


class Command(NamedTuple):
    """What the user asked for: only what was really given, checked for type and size."""

    preset: str | None
    numbers: dict[str, Any]
    options: RunOptions
    given: frozenset[str]
    """The names of the run options that were given."""
    help: bool


def nearest(name: str, known: list[str]) -> str:
    """The hint after an unknown name: what was probably meant, and what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"did you mean {close[0]}? T" if close else "t") + f"here are: {', '.join(known)}"


def flag(field: str) -> str:
    """The option that sets a field."""
    return "--" + field.replace("_", "-")


def parse(argv: list[str], presets: dict[str, Any]) -> Command:
    """The command line's words as values; a `UserError` names the first bad one."""
    if not presets:
        raise UserError("the recipe has no presets: main needs at least one")
    config = next(iter(presets.values()))
    kinds = get_type_hints(type(config)) | get_type_hints(RunOptions)
    names = [f.name for f in dataclasses.fields(config)]
    names += [f.name for f in dataclasses.fields(RunOptions)]
    preset, values, words = None, {}, list(argv)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            return Command(preset, {}, RunOptions(), frozenset(), help=True)
        if word.startswith("--"):
            name, text = read_option(word, words, names, kinds)
            if name in values:
                raise UserError(f"{flag(name)} is given twice: give it once")
            values[name] = convert(flag(name), kinds[name], text)
        elif word.startswith("-"):
            raise UserError(f"unknown option {word}: options are spelled {flag(names[0])} VALUE")
        elif preset is None:
            preset = known_preset(word, presets)
        else:
            raise UserError(
                f"unexpected word {word!r} after the preset {preset!r}: numbers are given as "
                f"{flag(names[0])} VALUE; see --help"
            )
    numbers = {n: v for n, v in values.items() if n in {f.name for f in dataclasses.fields(config)}}
    options = {n: v for n, v in values.items() if n not in numbers}
    check_sizes(numbers | options, presets[preset] if preset else config)
    return Command(preset, numbers, RunOptions(**options), frozenset(options), help=False)


def known_preset(word: str, presets: dict[str, Any]) -> str:
    """The preset of that name."""
    if word not in presets:
        raise UserError(f"unknown preset {word!r}: {nearest(word, list(presets))}")
    return word


def read_option(word: str, words: list[str], names: list[str], kinds: dict) -> tuple[str, str]:
    """One option's field and text; what follows it in `words` is used up where it needs a value."""
    option, equals, text = word.partition("=")
    name = option[2:].replace("-", "_")
    if name.startswith("no_") and kinds.get(name[3:]) is bool and name not in names and not equals:
        return name[3:], "false"
    if name not in names:
        raise UserError(f"unknown option {option}: {nearest(option, [flag(n) for n in names])}")
    if equals:
        return name, text
    if kinds[name] is bool:
        said = bool(words) and words[0].lower() in ("true", "false")
        return name, words.pop(0).lower() if said else "true"
    if not words or words[0].startswith("--"):
        raise UserError(f"{option} needs a value: {expected(kinds[name])}, as in {option} VALUE")
    return name, words.pop(0)


def expected(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a path"}[kind]


def convert(option: str, kind: Any, text: str) -> Any:
    """The text as a value of the field's type."""
    try:
        if get_origin(kind) is Literal:
            return {str(choice): choice for choice in get_args(kind)}[text]
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value = kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError
        if kind is str and not value:
            raise ValueError
        return value
    except (KeyError, ValueError):
        raise UserError(
            f"{option} got {text!r}, expected {expected(kind)}: give another value (see --help)"
        ) from None


def check_sizes(values: dict[str, Any], preset: Any) -> None:
    """No negative whole number, no zero where there must be at least one, no rate out of range."""
    for name, value in values.items():
        if isinstance(value, float):
            check_range(name, value)
        if isinstance(value, bool) or not (isinstance(value, int) or name == "save_every_s"):
            continue
        positive = POSITIVE.search(name) and getattr(preset, name, 1) != 0
        if value < 0 or (positive and value == 0):
            least = "at least 1" if positive else "0 or more"
            raise UserError(f"{flag(name)} got {value}, expected {least}: give a larger value")
        if value >= 2**31:
            raise UserError(
                f"{flag(name)} got {value}, expected less than 2**31: give a smaller one"
            )
    if values.get("seed", 0) + values.get("seeds", 1) > 2**31:
        raise UserError(
            f"--seed got {values['seed']}, and the last of {values['seeds']} seeds is not below "
            "2**31: give a smaller one"
        )


def check_range(name: str, value: float) -> None:
    """A real number lies where its name says that it must."""
    holds = {
        "a number from 0 to 1": 0 <= value <= 1,
        "a number above 0": value > 0,
        "0 or more": value >= 0,
        "a number from -10 to 3": -10 <= value <= 3,
    }
    for pattern, expected in RANGES:
        if pattern.search(name) and not holds[expected]:
            raise UserError(f"{flag(name)} got {value}, expected {expected}: give another value")


def show_help(prog: str, story: str, presets: dict[str, Any], preset: str | None) -> None:
    """Prints what every number means, with the preset's values as the defaults."""
    import tyro

    name = preset or next(iter(presets))
    listing = ", ".join(presets)
    usage = f"{prog} PRESET [--resume RUN_DIR] [numbers]. Presets: {listing}. Shown: {name}."
    both = dataclasses.make_dataclass(
        "Both", [("numbers", type(presets[name])), ("run", RunOptions)], frozen=True
    )
    try:
        tyro.cli(
            both,
            prog=f"{prog} {preset or 'PRESET'}",
            description=f"{story}\n\n{usage}".strip(),
            default=both(presets[name], RunOptions()),
            args=["--help"],
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except SystemExit:
        return
