"""A recipe's numbers: what every recipe has, and the presets that lie beside it."""

import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from metablocks.experiment.errors import UserError
from metablocks.ranges import Ranged


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Ranged):
    """The numbers of time and evaluation, which every recipe's Config has."""

    num_updates: int = 500
    """Updates of meta-training."""
    eval_every: int = 10
    """Updates between two evaluations."""
    eval_tasks: int = 30
    """Held-out tasks of an evaluation; more than there are means each several times."""
    eval_episodes: int = 3
    """Episodes of an adaptation curve, or rounds of them where adaptation takes `eval_shots`."""


def presets(config: type, recipe: str) -> dict[str, Any]:
    """The presets in the TOML file beside a recipe: `pearl.toml` beside `pearl.py`.

    A table [name] per preset; what it leaves out is the Config's own default.

    Args:
        config: the recipe's Config.
        recipe: the recipe's `__file__`.
    """
    path = Path(recipe).with_suffix(".toml")
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        refuse(f"no presets: cannot read {path}: {error.strerror}")
    except tomllib.TOMLDecodeError as error:
        refuse(f"{path} is no TOML file: {error}")
    found = {}
    for name, numbers in tables.items():
        try:
            found[name] = config(**numbers)
        except (TypeError, ValueError) as error:
            refuse(f"{path}, [{name}]: {str(error).removeprefix(f'{config.__name__}.__init__() ')}")
    return found


def refuse(line: str) -> NoReturn:
    """Ends the program before it has begun."""
    print(f"error: {line}", file=sys.stderr, flush=True)
    raise SystemExit(UserError.status) from None
