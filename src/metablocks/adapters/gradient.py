"""Adaptation by gradient steps: phi_{k+1} = phi_k - alpha_k grad L(phi_k; D_k)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient as sg
from jaxtyping import Array, Float, Int, PyTree

from metablocks.trees import split_last
from metablocks.types import Agent, Key, Phi, Theta, TimeStep, Transition


class Adapted(NamedTuple):
    """phi: the parameters that adapt, and how many steps they have taken."""

    params: PyTree
    steps: Int[Array, ""]


def unadapted(params: PyTree) -> Adapted:
    """The parameters before any step."""
    return Adapted(params, jnp.zeros((), jnp.int32))


class GradientAdapter(NamedTuple):
    """f_theta as gradient steps."""

    step: Callable[[Theta, Adapted, PyTree], Adapted]
    """(theta, phi, data) -> phi after one step on the data."""
    unroll: Callable[[Theta, Adapted, PyTree], tuple[Adapted, Adapted]]
    """(theta, phi, data [K, ...]) -> (phi before each step [K], phi after the last)."""


def gradient_adapter(
    loss: Callable[[Theta, PyTree, PyTree], Float[Array, ""]],
    step_size: Callable[[Theta, Int[Array, ""]], Any],
    *,
    first_order: bool = False,
    rematerialise: bool = False,
) -> GradientAdapter:
    """Gradient steps that can be differentiated through, exactly.

        phi_{k+1} = phi_k - alpha_k * grad_phi L(theta, phi_k; D_k)

    What adapts is up to the caller: phi's parameters may be all of theta's, a part of them (see
    `part`), or a latent that the policy is conditioned on.

    Args:
        loss: (theta, the adapting parameters, data) -> L.
        step_size: (theta, k) -> alpha_k: a number for all parameters, or a tree like them.
        first_order: the gradient is taken as it is, not differentiated: d phi_K / d phi_0 = I.
        rematerialise: what a step computes is computed again for the outer gradient instead of
            kept, so that memory does not grow with K times a step's activations.

    Finn et al. 2017, section 2.2, https://arxiv.org/abs/1703.03400.
    """

    def step(theta: Theta, phi: Adapted, data: PyTree) -> Adapted:
        slope = jax.grad(loss, argnums=1)(theta, phi.params, data)
        slope = sg(slope) if first_order else slope
        alpha = step_size(theta, phi.steps)
        return Adapted(descended(phi.params, slope, alpha), phi.steps + 1)

    def unroll(theta: Theta, phi: Adapted, data: PyTree) -> tuple[Adapted, Adapted]:
        one = jax.checkpoint(step, prevent_cse=False) if rematerialise else step
        last, before = jax.lax.scan(lambda phi, data: (one(theta, phi, data), phi), phi, data)
        return before, last

    return GradientAdapter(step, unroll)


def adapted(adapter: GradientAdapter, theta: Theta, params: PyTree, rounds: PyTree) -> PyTree:
    """The parameters phi_0, ..., phi_K that a task's rounds [K + 1, ...] were made by.

    As functions of theta: what an outer loss differentiates.

    Args:
        params: phi_0.
    """
    pre, _ = split_last(rounds)
    before, last = adapter.unroll(theta, unadapted(params), pre)
    return jax.tree.map(lambda b, end: jnp.concatenate([b, end[None]]), before.params, last.params)


def descended(params: PyTree, slope: PyTree, alpha: Any) -> PyTree:
    """params - alpha * slope, for a number alpha or a tree of step sizes like the parameters.

    Raises:
        ValueError: alpha is neither.
    """
    if jax.tree.structure(alpha) == jax.tree.structure(params):
        return jax.tree.map(lambda p, g, a: p - a * g, params, slope, alpha)
    if jnp.ndim(alpha) if jax.tree.structure(alpha) == jax.tree.structure(0) else True:
        raise ValueError("a step size must be a number, or a tree like the adapting parameters")
    return jax.tree.map(lambda p, g: p - alpha * g, params, slope)


def gradient_agent(
    adapter: GradientAdapter,
    start: Callable[[Theta], PyTree],
    act: Callable[[Theta, PyTree, TimeStep, Key], tuple[Array, dict[str, PyTree]]],
    data: Callable[[Transition], PyTree],
) -> Agent:
    """The agent that takes one step on every round of data.

    Args:
        start: theta -> the adapting parameters before any data.
        act: (theta, the adapting parameters, timestep, key) -> (action, extras).
        data: a round's trajectories [N, T] -> what the adapter's loss reads.
    """

    def step(theta: Theta, phi: Adapted, timestep: TimeStep, key: Key):
        return *act(theta, phi.params, timestep, key), phi

    def adapt(theta: Theta, phi: Adapted, trajectories: Transition, key: Key) -> Adapted:
        del key
        return adapter.step(theta, phi, data(trajectories))

    return Agent(lambda theta, key: unadapted(start(theta)), step, adapt)


class Part(NamedTuple):
    """A named part of a tree of parameters: what adapts, where not everything does."""

    of: Callable[[PyTree], Phi]
    """The whole -> the part."""
    into: Callable[[PyTree, Phi], PyTree]
    """(the whole, another part) -> the whole with that part in its place."""


def part(where: Callable[[PyTree], PyTree]) -> Part:
    """The part that `where` names: `lambda policy: policy.mlp.layers[-1]`, or all of it.

    MAESN's latent, CAVIA's context (Zintgraf et al. 2019, https://arxiv.org/abs/1810.03642) and
    the last layer (Raghu et al. 2020, https://arxiv.org/abs/1909.09157) are such parts.
    """
    return Part(where, lambda whole, new: eqx.tree_at(where, whole, new))
