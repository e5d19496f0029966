"""What a number may be, by its name and type: the same for the command line, TOML and Python."""

import dataclasses
import numbers
import re
from typing import Any, ClassVar, Literal, TypeGuard, get_args, get_origin, get_type_hints

import jax
import numpy as np

COUNTS = re.compile(
    r"^(num|eval)_|_(every|batch|rows|dim|size|width|steps|episodes|tasks)$"
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
        re.compile(r"^(alpha|epsilon|radius|inner_lr|max_grad_norm)$"),
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
TYPES = {
    bool: ("true or false", lambda x: isinstance(x, bool)),
    int: ("a whole number", lambda x: isinstance(x, numbers.Integral) and not isinstance(x, bool)),
    float: ("a number", lambda x: isinstance(x, numbers.Real) and not isinstance(x, bool)),
}
"""Types: in words, and whether a value is of them."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest number that arrays hold."""


def is_array(value: Any) -> TypeGuard[np.generic | np.ndarray | jax.Array]:
    """Whether it is numpy's or JAX's."""
    return isinstance(value, np.generic | np.ndarray | jax.Array)


def plain(value: Any) -> Any:
    """An array of no dimensions as Python's own number; anything else as it is."""
    return value.item() if is_array(value) and value.ndim == 0 else value


def in_words(kind: Any) -> str:
    """A field's type."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return TYPES[kind][0]


def expected(name: str, value: Any, kind: Any, *, may_be_zero: bool = False) -> str | None:
    """What was expected of the number of that name, in words; `None` where the value is that.

    Args:
        name: the field's name.
        value: what it was given.
        kind: the field's type; of others than bool, int, float and `Literal` nothing is expected.
        may_be_zero: whether a count may be 0, since 0 is its own default.
    """
    if get_origin(kind) is Literal:
        same = any(type(value) is type(one) and value == one for one in get_args(kind))
        return None if same else in_words(kind)
    if kind not in TYPES:
        return None
    if not TYPES[kind][1](value):
        return in_words(kind)
    if kind is float and not -LARGEST <= value <= LARGEST:
        return "a finite number of 32 bits"
    for names, words, holds in REALS:
        if kind is not bool and names.search(name):
            return None if holds(value) else words
    if kind is int:
        least = 1 if COUNTS.search(name) and not may_be_zero else 0
        if value < least:
            return "at least 1" if least else "0 or more"
        return None if value < 2**31 else "less than 2**31"
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranged:
    """A record of numbers, each of which is what its name and type say.

    Arrays of no dimensions become Python's numbers, and whole ones floats where the field is one. A
    number that JAX traces stays as it is, unchecked, so that `vmap` may go over it where no block
    asks how large it is. Fields of other types than bool, int, float and `Literal` are not checked.
    A subclass with a `__post_init__` of its own calls `super().__post_init__()`.

    Raises:
        ValueError: one is not.
    """

    only: ClassVar[dict[str, tuple[str, Any]]] = {}
    """Numbers without effect but where another has a certain value: which, and what value."""

    def __post_init__(self):
        kinds = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            name, kind, given = field.name, kinds[field.name], getattr(self, field.name)
            if isinstance(given, jax.core.Tracer):
                continue
            value = plain(given) if kind in TYPES or get_origin(kind) is Literal else given
            wanted = expected(name, value, kind, may_be_zero=field.default == 0)
            if wanted:
                got = f"an array of shape {value.shape}" if is_array(value) else repr(value)
                raise ValueError(f"{name} got {got}, expected {wanted}: give another value")
            object.__setattr__(self, name, float(value) if kind is float else value)
