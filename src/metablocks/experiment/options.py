"""The command line, made of a recipe's presets: values, or one clear line about a bad one."""

import dataclasses
import difflib
import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from metablocks import ranges
from metablocks.experiment.errors import UserError


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
    preset, values, words, switch = None, {}, list(argv), None
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            return Command(preset, {}, RunOptions(), frozenset(), help=True)
        if word.startswith("--"):
            left = len(words)
            name, text = read_option(word, words, names, kinds)
            if name in values:
                raise UserError(f"{flag(name)} is given twice: give it once")
            values[name] = convert(flag(name), kinds[name], text)
            bare = len(words) == left and "=" not in word and text == "true"
            switch = name if bare else None
        elif word.startswith("-"):
            raise UserError(f"unknown option {word}: options are spelled {flag(names[0])} VALUE")
        elif preset is None:
            preset = known_preset(word, presets)
        elif switch:
            raise UserError(
                f"{flag(switch)} got {word!r}, expected true or false: give another value"
            )
        else:
            raise UserError(
                f"unexpected word {word!r} after the preset {preset!r}: numbers are given as "
                f"{flag(names[0])} VALUE; see --help"
            )
    numbers = {n: v for n, v in values.items() if n in {f.name for f in dataclasses.fields(config)}}
    options = {n: v for n, v in values.items() if n not in numbers}
    check(numbers | options, kinds, {f.name: f.default for f in dataclasses.fields(config)})
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
    return "a path" if kind is str else ranges.in_words(kind)


def convert(option: str, kind: Any, text: str) -> Any:
    """The text as a value of the field's type."""
    try:
        if get_origin(kind) is Literal:
            return {str(choice): choice for choice in get_args(kind)}[text]
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value = kind(text)
        if kind is str and not value:
            raise ValueError
        return value
    except (KeyError, ValueError):
        raise UserError(
            f"{option} got {text!r}, expected {expected(kind)}: give another value (see --help)"
        ) from None


def check(values: dict[str, Any], kinds: dict[str, Any], defaults: dict[str, Any]) -> None:
    """No negative whole number, no zero where there must be at least one, no rate out of range."""
    for name, value in values.items():
        may_be_zero = defaults.get(name) == 0
        wanted = ranges.expected(name, value, kinds[name], may_be_zero=may_be_zero)
        if wanted:
            raise UserError(f"{flag(name)} got {value}, expected {wanted}: give another value")
    if values.get("seed", 0) + values.get("seeds", 1) > 2**31:
        raise UserError(
            f"--seed got {values['seed']}, and the last of {values['seeds']} seeds is not below "
            "2**31: give a smaller one"
        )


def have_effect(cfg: Any, given: Iterable[str]) -> None:
    """No number is given that the choices of `cfg` leave without effect (see `Ranged.only`)."""
    for name in given:
        choice, value = getattr(cfg, "only", {}).get(name, (None, None))
        if choice and getattr(cfg, choice) != value:
            raise UserError(
                f"{flag(name)} has no effect with {flag(choice)} {getattr(cfg, choice)}: leave it "
                f"out, or give {flag(choice)} {value}"
            )


def as_options(message: str, names: list[str]) -> str:
    """A block's word on a number, with the fields spelled as the options that set them."""
    about = re.match(r"(\w+) (?=got |is |must )", message)
    if about:  # what the line is about: a field, or the one whose name ends so
        meant = [n for n in names if n == about[1]] or [
            n for n in names if n.endswith(f"_{about[1]}")
        ]
        message = f"{flag(meant[0]) if len(meant) == 1 else about[1]} {message[about.end() :]}"
    compound = {name for name in names if "_" in name}
    return re.sub(r"\w+", lambda word: flag(word[0]) if word[0] in compound else word[0], message)


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
        print(end="", flush=True)  # a reader that has gone is found here, not at the exit
