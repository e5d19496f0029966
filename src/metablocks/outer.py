"""Outer steps: one within a trust region, or several of an optimiser on the same data."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, Int, PyTree

from metablocks.losses import likelihood_ratio_loss, ppo_clip_loss
from metablocks.ranges import Ranged
from metablocks.trees import gradient_steps
from metablocks.types import Theta

Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterConfig(Ranged):
    """The numbers of outer steps by Adam on a clipped surrogate."""

    epochs: int = 5
    """Steps of Adam on an update's data."""
    lr: float = 1e-3
    """Adam's step size for the policy."""
    alpha_lr: float = 1e-2
    """Adam's step size for alpha, where it is learned."""
    lr_end: float = 0.1
    """Share of both that is left at the end, linearly."""
    epsilon: float = 0.3
    """The clip of the outer surrogate."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterChoice(OuterConfig):
    """The numbers of an outer step of either kind."""

    outer: Literal["trust-region", "ppo"] = "trust-region"
    """The outer step: one within a trust region, or `epochs` of Adam on the clipped surrogate."""
    radius: float = 0.01
    """Trust region: the largest mean KL of the adapted policies."""

    only: ClassVar = dict.fromkeys(OuterConfig.__annotations__, ("outer", "ppo")) | {
        "radius": ("outer", "trust-region")
    }

    @property
    def surrogate(self) -> Callable[[Scalar, Scalar, Scalar], Scalar]:
        """(log pi, log mu, A) -> what the outer step goes down, of one step."""
        clipped = partial(ppo_clip_loss, epsilon=self.epsilon)
        return {"trust-region": likelihood_ratio_loss, "ppo": clipped}[self.outer]


def meta_adam(cfg: OuterConfig, *, num_updates: int) -> optax.GradientTransformation:
    """Adam on theta, a NamedTuple, with a step size of its own for the field `alpha` if it has one.

    Raises:
        ValueError: theta is no NamedTuple.
    """

    def adam(lr: float) -> optax.GradientTransformation:
        return optax.adam(optax.linear_schedule(lr, lr * cfg.lr_end, num_updates * cfg.epochs))

    def kinds(theta: Any) -> Any:
        if not hasattr(theta, "_fields"):
            raise ValueError(f"theta must be a NamedTuple, got {type(theta).__name__}")
        return type(theta)(*("alpha" if name == "alpha" else "rest" for name in theta._fields))

    return optax.partition({"rest": adam(cfg.lr), "alpha": adam(cfg.alpha_lr)}, kinds)


class Outer(NamedTuple):
    """Improvement of theta on data that it has just made."""

    init: Callable[[Theta], Any]
    improve: Callable[[Theta, Any, PyTree], tuple[Theta, Any, dict[str, Array]]]
    """(theta, state, data) -> (theta, state, metrics)."""
    steps: int
    """Steps of an improvement."""


class TrustRegionState(NamedTuple):
    steps: Int[Array, ""]


def adam_epochs(
    outputs: Callable[[Theta, PyTree], PyTree],
    surrogate: Callable[[Theta, PyTree, PyTree], Scalar],
    *,
    optimiser: optax.GradientTransformation,
    epochs: int,
) -> Outer:
    """`epochs` steps of the optimiser down a surrogate that says itself how far it holds (a clip).

    Args:
        outputs: (theta, data) -> the distributions that the surrogate is of.
        surrogate: (theta, outputs, data) -> L, to be minimised.

    Raises:
        ValueError: there are no epochs.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")

    def improve(theta: Theta, state: Any, data: PyTree):
        def loss(theta: Theta, epoch: Int[Array, ""]):
            del epoch
            value = surrogate(theta, outputs(theta, data), data)
            return value, {"surrogate": value}

        return gradient_steps(loss, optimiser, theta, state, jnp.arange(epochs))

    return Outer(optimiser.init, improve, epochs)


def fisher_vector_product(
    outputs: Callable[[Theta], PyTree],
    divergence: Callable[[PyTree, PyTree], Scalar],
    theta: Theta,
    *,
    damping: float = 0.0,
) -> Callable[[Theta], Theta]:
    """v -> (F + damping I) v, where F is the divergence's Hessian in theta at no distance.

        F = J^T H J,    J = d outputs / d theta,    H = d^2 D(sg[o], o') / d o'^2  at  o' = o

    exact, because D's gradient vanishes there: only first derivatives of `outputs` are taken, even
    where it contains a gradient step.
    """
    old, push = jax.linearize(outputs, theta)
    pull = jax.linear_transpose(push, theta)
    slope = jax.grad(lambda new: divergence(old, new))

    def product(v: Theta) -> Theta:
        (image,) = pull(jax.jvp(slope, (old,), (push(v),))[1])
        return jax.tree.map(lambda fv, v: fv + damping * v, image, v)

    return product


def trust_region(
    outputs: Callable[[Theta, PyTree], PyTree],
    surrogate: Callable[[Theta, PyTree, PyTree], Scalar],
    divergence: Callable[[PyTree, PyTree, PyTree], Scalar],
    *,
    radius: float = 0.01,
    iterations: int = 10,
    damping: float = 1e-5,
    backtracks: int = 15,
    shrink: float = 0.8,
) -> Outer:
    """One natural-gradient step, shortened until the surrogate falls inside the region.

        x = F^-1 grad L  by conjugate gradients
        theta' = theta - shrink^j sqrt(2 radius / x^T F x) x
        the least j with  L(theta') < L(theta)  and  D(o(theta), o(theta')) <= radius,  or no step

    Args:
        outputs: (theta, data) -> the distributions whose movement is bounded; for a meta-learner
            those *after* adaptation.
        surrogate: (theta, outputs, data) -> L, to be minimised.
        divergence: (old outputs, new outputs, data) -> D, a mean KL divergence.
        radius: the largest D.
        iterations: of the conjugate gradients.
        damping: added to F's diagonal.
        backtracks: tries of the line search.
        shrink: how much shorter each is.

    Raises:
        ValueError: a number is out of range.
    Schulman et al. 2015, https://arxiv.org/abs/1502.05477, appendix C.
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    if iterations < 1 or backtracks < 1:
        raise ValueError(f"iterations and backtracks must be at least 1, got {iterations} and "
                         f"{backtracks}")  # fmt: skip
    if not (damping >= 0 and 0 < shrink < 1):
        raise ValueError(f"damping must be 0 or more and shrink between 0 and 1, got {damping} "
                         f"and {shrink}")  # fmt: skip

    def init(theta: Theta) -> TrustRegionState:
        del theta
        return TrustRegionState(jnp.zeros((), jnp.int32))

    def improve(theta: Theta, state: TrustRegionState, data: Any):
        def loss_of(theta: Theta):
            made = outputs(theta, data)
            return surrogate(theta, made, data), made

        (loss, old), slope = jax.value_and_grad(loss_of, has_aux=True)(theta)
        fisher = fisher_vector_product(
            lambda theta: outputs(theta, data),
            lambda old, new: divergence(old, new, data),
            theta,
            damping=damping,
        )
        step, _ = cg(fisher, slope, tol=1e-10, maxiter=iterations)
        curvature = sum(
            jnp.vdot(x, fx)
            for x, fx in zip(jax.tree.leaves(step), jax.tree.leaves(fisher(step)), strict=True)
        )
        longest = jnp.sqrt(2.0 * radius / jnp.maximum(curvature, 1e-12))

        def moved(size: Scalar) -> Theta:
            return jax.tree.map(lambda p, x: p - size * x, theta, step)

        def shorter(search):
            tried, _, _, _ = search
            there, made = loss_of(moved(longest * shrink**tried))
            fall, far = there - loss, divergence(old, made, data)
            return tried + 1, fall, far, (fall < 0) & (far <= radius)

        start = jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), jnp.array(False)
        tried, fall, far, good = jax.lax.while_loop(
            lambda search: ~search[3] & (search[0] < backtracks), shorter, start
        )
        best = moved(longest * shrink ** (tried - 1))
        new = jax.tree.map(lambda there, here: jnp.where(good, there, here), best, theta)
        told = {
            "surrogate": jnp.where(good, loss + fall, loss),
            "divergence": jnp.where(good, far, 0.0),
            "step": jnp.where(good, shrink ** (tried - 1), 0.0),
        }
        return new, TrustRegionState(state.steps + 1), told

    return Outer(init, improve, 1)


def outer_step(
    cfg: OuterChoice,
    outputs: Callable[[Theta, PyTree], PyTree],
    surrogate: Callable[[Theta, PyTree, PyTree], Scalar],
    divergence: Callable[[PyTree, PyTree, PyTree], Scalar],
    *,
    num_updates: int,
) -> Outer:
    """The outer step that `cfg.outer` names: see `trust_region` and `adam_epochs`."""
    optimiser = meta_adam(cfg, num_updates=num_updates)
    made = {
        "trust-region": lambda: trust_region(outputs, surrogate, divergence, radius=cfg.radius),
        "ppo": lambda: adam_epochs(outputs, surrogate, optimiser=optimiser, epochs=cfg.epochs),
    }
    return made[cfg.outer]()
