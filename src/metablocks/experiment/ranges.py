"""What a number may be, by its name: the same rules for the command line, TOML and Python."""

import re
from typing import Any, Literal, get_args, get_origin

COUNTS = re.compile(
    r"^(num|eval)_|_(every|batch|dim|size|width|steps|episodes|tasks)$"
    r"|^(seeds|horizon|batch|meta_batch|shots|width|depth|hidden|memory|epochs|minibatches)$"
    r"|(^|_)capacity$|_depth$"
)
"""Integers whose names say that they count something there must be at least one of."""
REALS = (
    (
        re.compile(r"^(gamma|lam|tau|lr_end|entropy_end|later_steps|dice_decay)$"),
        "a number from 0 to 1",
        lambda x: 0 <= x <= 1,
    ),
    (
        re.compile(r"^(alpha|epsilon|max_grad_norm)$"),
        "a number above 0",
        lambda x: x > 0,
    ),
    (re.compile(r"^log_scale$"), "a number from -10 to 3", lambda x: -10 <= x <= 3),
    (
        re.compile(r"(^|_)lr$|_(coef|scale|target|share)$|^save_every_s$"),
        "0 or more",
        lambda x: x >= 0,
    ),
)
"""Real numbers: the names, what is expected of them, and whether it holds."""


def one_of(kind: Any) -> str:
    """The choices of a `Literal` in words."""
    return "one of " + ", ".join(map(str, get_args(kind)))


def expected(name: str, value: Any, kind: Any = None, *, may_be_zero: bool = False) -> str | None:
    """What was expected of the number of that name, in words; `None` where the value is that.

    Args:
        name: the field's name.
        value: what it was given.
        kind: its type, where that is a `Literal`.
        may_be_zero: whether a count may be 0, since 0 is its own default.
    """
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else one_of(kind)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    for names, words, holds in REALS:
        if names.search(name):
            return None if holds(value) else words
    if not isinstance(value, int):
        return None
    least = 1 if COUNTS.search(name) and not may_be_zero else 0
    if value < least:
        return "at least 1" if least else "0 or more"
    return None if value < 2**31 else "less than 2**31"
