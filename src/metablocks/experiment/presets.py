"""A recipe's numbers: what every recipe has, and the presets that lie beside it."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

from metablocks.experiment.ranges import expected


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The numbers of time and evaluation, which every recipe's Config has.

    It stands first among a Config's bases, and looks at all its numbers.

    Raises:
        ValueError: a number is out of the range that its name says, or no choice there is.
    """

    num_updates: int = 500
    """Updates of meta-training."""
    eval_every: int = 10
    """Updates between two evaluations."""
    eval_tasks: int = 30
    """Held-out tasks of an evaluation; more than there are means each several times."""
    eval_episodes: int = 3
    """Episodes of an adaptation curve, or rounds of them where adaptation takes `eval_shots`."""

    def __post_init__(self):
        kinds = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            wanted = expected(name, value, kinds[name], may_be_zero=field.default == 0)
            if wanted:
                raise ValueError(f"{name} got {value}, expected {wanted}: give another value")
        if hasattr(super(), "__post_init__"):
            super().__post_init__()  # pyright: ignore[reportAttributeAccessIssue]


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
        raise SystemExit(f"error: no presets: cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SystemExit(f"error: {path} is no TOML file: {error}") from None
    try:
        return {name: config(**numbers) for name, numbers in tables.items()}
    except (TypeError, ValueError) as error:
        raise SystemExit(f"error: {path}: {error}") from None
