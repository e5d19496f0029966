"""How far an inner step goes: a number, learned for every parameter, or for every step."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient as sg
from jaxtyping import Array, Int, PyTree

from metablocks.trees import take

Kind = Literal["fixed", "meta-sgd", "per-step"]


class StepSizes:
    """The step sizes alpha_k, a leaf of theta, and how a step reads them.

    | kind | alpha_k |
    |---|---|
    | fixed | one number, not learned |
    | meta-sgd | learned for every parameter (Li et al. 2017, https://arxiv.org/abs/1707.09835) |
    | per-step | learned for every array of parameters and every step (Antoniou et al. 2019,
      https://arxiv.org/abs/1810.09502) |

    Args:
        alpha: what they are at first.
        steps: how many steps are taken in meta-training.
        later: the share that is left of it in later steps, which only meta-testing takes:
            half in MAML's, from the second step on.
        every: whether every later step has that share of the one before, from the third step on
            at the earliest, as in MAESN's.

    Raises:
        ValueError: there is no such kind, or a number is out of range.
    """

    def __init__(
        self, kind: Kind, *, alpha: float, steps: int, later: float = 1.0, every: bool = False
    ):
        if kind not in ("fixed", "meta-sgd", "per-step"):
            raise ValueError(f"no step sizes {kind!r}: expected fixed, meta-sgd or per-step")
        if not alpha > 0:
            raise ValueError(f"inner_lr must be positive, got {alpha}")
        if steps < 1 or not 0 <= later <= 1:
            raise ValueError(
                f"steps must be at least 1 and later from 0 to 1, got {steps}, {later}"
            )
        self.kind, self.alpha, self.steps, self.later, self.every = kind, alpha, steps, later, every

    def init(self, params: PyTree) -> PyTree:
        """The leaf of theta, for parameters like these."""
        if self.kind == "fixed":
            return jnp.array(self.alpha)
        if self.kind == "meta-sgd":
            return jax.tree.map(lambda leaf: jnp.full_like(leaf, self.alpha), params)
        return jax.tree.map(lambda leaf: jnp.full(self.steps, self.alpha), params)

    def __call__(self, sizes: PyTree, step: Int[Array, ""]) -> Any:
        """alpha_k of the step number k."""
        if self.every:
            share = self.later ** jnp.maximum(step - max(self.steps, 2) + 1, 0)
        else:
            share = jnp.where(step < self.steps, 1.0, self.later)
        if self.kind == "fixed":
            sizes = sg(sizes)
        if self.kind == "per-step":
            sizes = take(sizes, jnp.minimum(step, self.steps - 1))
        return jax.tree.map(lambda size: share * size, sizes)
