"""Posterior sampling: act on one draw of the belief for an episode, then draw again."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from metablocks.trees import merge, where
from metablocks.types import Agent, Key, Theta, TimeStep, Transition


class Belief(NamedTuple):
    """phi of an agent that samples posteriors."""

    memory: Any
    """The encoder's summary of all data so far."""
    z: Float[Array, " z"]
    """The draw that this round acts on."""
    rounds: Int[Array, ""]
    """Rounds of data folded in."""


def posterior_sampling(
    encoder: Callable[[Theta], Any],
    context: Callable[[Transition], Float[Array, " c"]],
    act: Callable[[Theta, Float[Array, " z"], TimeStep, Key], tuple[Array, dict[str, Array]]],
    *,
    prior_rounds: int = 1,
    deterministic: bool = False,
) -> Agent:
    """The agent that holds z ~ q(z | D) for a round and draws it anew from the running posterior.

        z_k ~ q(z | D_0, ..., D_{k-1}),    a_t ~ pi_theta(. | s_t, z_k)

    Thompson sampling over tasks: exploration that is consistent within an episode (Osband et al.
    2013, https://arxiv.org/abs/1306.0940; PEARL, section 4.2).

    Args:
        encoder: theta -> an encoder with `init() -> memory`, `update(memory, context [N, c], mask)`
            and `posterior(memory) -> DiagNormal`.
        context: what the encoder sees of one transition, [c].
        act: (theta, z, timestep, key) -> (action, extras).
        prior_rounds: rounds that draw z from the posterior of *no* data, as PEARL's first
            exploration trajectories do; at least 1 (there are no data before).
        deterministic: z is the posterior's mean instead of a draw.
    """
    if prior_rounds < 1:
        raise ValueError(f"prior_rounds must be at least 1, got {prior_rounds}")

    def believe(theta, memory, rounds, key):
        net = encoder(theta)
        told = where(rounds >= prior_rounds, memory, net.init())
        q = net.posterior(told)
        return Belief(memory, q.mode() if deterministic else q.sample(key), rounds)

    def prior(theta, key):
        return believe(theta, encoder(theta).init(), jnp.int32(0), key)

    def step(theta, phi, timestep, key):
        action, extras = act(theta, phi.z, timestep, key)
        return action, extras, phi

    def adapt(theta, phi, trajectories, key):
        rows = jax.vmap(context)(merge(trajectories))
        memory = encoder(theta).update(phi.memory, rows, jnp.ones(len(rows), bool))
        return believe(theta, memory, phi.rounds + 1, key)

    return Agent(prior=prior, act=step, adapt=adapt)
