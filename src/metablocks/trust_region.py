"""The trust-region step: down the surrogate as far as the policies may move."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, Int, PyTree

from metablocks.types import Theta

Scalar = Float[Array, ""]


class TrustRegionState(NamedTuple):
    steps: Int[Array, ""]


class TrustRegion(NamedTuple):
    """An optimiser of a surrogate whose steps are bounded by a divergence."""

    init: Callable[[Theta], TrustRegionState]
    improve: Callable[
        [Theta, TrustRegionState, PyTree], tuple[Theta, TrustRegionState, dict[str, Array]]
    ]
    """(theta, state, data) -> (theta, state, what the step was)."""


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
    surrogate: Callable[[Theta, PyTree], Scalar],
    outputs: Callable[[Theta, PyTree], PyTree],
    divergence: Callable[[PyTree, PyTree, PyTree], Scalar],
    *,
    radius: float = 0.01,
    iterations: int = 10,
    damping: float = 1e-5,
    backtracks: int = 15,
    shrink: float = 0.8,
) -> TrustRegion:
    """One natural-gradient step, shortened until the surrogate falls inside the region.

        x = F^-1 grad L  by conjugate gradients
        theta' = theta - shrink^j sqrt(2 radius / x^T F x) x
        the least j with  L(theta') < L(theta)  and  D(o(theta), o(theta')) <= radius,  or no step

    Args:
        surrogate: (theta, data) -> L, to be minimised.
        outputs: (theta, data) -> the distributions whose movement is bounded; for a meta-learner
            those *after* adaptation.
        divergence: (old outputs, new outputs, data) -> D, a mean KL divergence.
        radius: the largest D.
        iterations: of the conjugate gradients.
        damping: added to F's diagonal.
        backtracks: tries of the line search.
        shrink: how much shorter each is.

    Raises:
        ValueError: the radius is not positive.
    Schulman et al. 2015, https://arxiv.org/abs/1502.05477, appendix C.
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")

    def init(theta: Theta) -> TrustRegionState:
        del theta
        return TrustRegionState(jnp.zeros((), jnp.int32))

    def improve(theta: Theta, state: TrustRegionState, data: Any):
        loss, slope = jax.value_and_grad(surrogate)(theta, data)
        old = outputs(theta, data)
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
            new = moved(longest * shrink**tried)
            fall, far = surrogate(new, data) - loss, divergence(old, outputs(new, data), data)
            return tried + 1, fall, far, (fall < 0) & (far <= radius)

        start = jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), jnp.array(False)
        tried, fall, far, good = jax.lax.while_loop(
            lambda search: ~search[3] & (search[0] < backtracks), shorter, start
        )
        size = jnp.where(good, longest * shrink ** (tried - 1), 0.0)
        told = {
            "surrogate": jnp.where(good, loss + fall, loss),
            "divergence": jnp.where(good, far, 0.0),
            "step": jnp.where(good, shrink ** (tried - 1), 0.0),
        }
        return moved(size), TrustRegionState(state.steps + 1), told

    return TrustRegion(init, improve)
