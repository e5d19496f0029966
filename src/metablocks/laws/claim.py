"""How a law is checked: inputs out of hypothesis, and a counterexample one can read."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jaxtyping import PyTree


def for_all(check: Callable[..., None], *, examples: int, **choices: Sequence[Any]) -> None:
    """check(seed, **choice) for `examples` seeds and members of `choices`, the simplest first.

    Seeds and enumerations only: a random shape would compile anew. The same examples every time,
    and no search for a smaller counterexample: one seed is as small as another.
    """
    inputs = {name: st.sampled_from(values) for name, values in choices.items()}
    once = given(seed=st.integers(0, 2**31 - 1), **inputs)(check)
    settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given],
    )(once)()


def fail(law: str, *facts: str, **inputs: Any) -> None:
    """Raises the AssertionError that shows a law, the inputs that break it, and how."""
    given_ = ", ".join(f"{name} = {value}" for name, value in inputs.items())
    raise AssertionError("\n  ".join([f"violated: {law}", f"at {given_}", *facts]))


def same(
    left: PyTree, right: PyTree, law: str, *, rtol: float = 0.0, atol: float = 0.0, **inputs: Any
) -> None:
    """Raises unless two pytrees agree in structure, shapes, dtypes and, to a tolerance, values."""
    same_structure(left, right, law, **inputs)
    facts = []
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True
    ):
        x, y = _numbers(x), _numbers(y)
        if not np.allclose(x, y, rtol=rtol, atol=atol):
            facts += [f"{leaf_name(path)}: left  {x}", f"{leaf_name(path)}: right {y}"]
    if facts:
        fail(law, *facts, **inputs)


def same_structure(left: PyTree, right: PyTree, law: str, **inputs: Any) -> None:
    """Raises unless two pytrees agree in structure, shapes and dtypes."""
    before, after = (_leaves(tree) for tree in (left, right))
    if before != after:
        facts = [
            f"{name}: left {before.get(name, 'nothing')}, right {after.get(name, 'nothing')}"
            for name in before | after
            if before.get(name) != after.get(name)
        ]
        fail(law, *facts, **inputs)
    trees = jax.tree.structure(left), jax.tree.structure(right)
    if trees[0] != trees[1]:
        fail(law, f"left  {trees[0]}", f"right {trees[1]}", **inputs)


def leaf_name(path: tuple[Any, ...]) -> str:
    """A leaf's place in its tree, as one would write it: `.theta['w']`."""
    return jax.tree_util.keystr(path) or "the value"


def _leaves(tree: PyTree) -> dict[str, str]:
    return {
        leaf_name(path): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _numbers(leaf: Any) -> np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array if array.dtype.kind in "biuf" else array.astype(np.float32)
