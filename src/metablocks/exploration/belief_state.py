"""Act on what is believed now: the agent of a Bayes-adaptive MDP."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PyTree

from metablocks.trees import where
from metablocks.types import Agent, Key, Theta, TimeStep


class BeliefState(NamedTuple):
    """phi of an agent that acts on its belief."""

    memory: Any
    """The encoder's summary of all data so far."""
    acted: Bool[Array, ""]
    """Whether there is a step since, which the next time step tells the outcome of."""


def belief_agent(
    encoder: Callable[[Theta], Any],
    row: Callable[[Array, Array, Array], Float[Array, " c"]],
    act: Callable[[Theta, Any, TimeStep, Key], tuple[Array, dict[str, PyTree]]],
    *,
    pays: Callable[[Theta, Float[Array, " z"]], Float[Array, " n"]] | None = None,
) -> Agent:
    """The agent that folds every step into its belief and acts on the belief itself.

        q_t = q(m | c_1, ..., c_t),  c_t = (a_{t-1}, s_t, r_{t-1}),    a_t ~ pi_theta(. | s_t, q_t)

    The last step of a round's first episode is folded in by `adapt`, which sees where it led;
    `act` would see the start of the next one instead. Zintgraf et al. 2020,
    https://arxiv.org/abs/1910.08348.

    Args:
        encoder: theta -> an encoder with `init() -> memory`, `update(memory, context [N, c], mask)`
            and `posterior(memory) -> q`.
        row: (action, next observation, reward) -> what the encoder sees of a step, [c].
        act: (theta, q, timestep, key) -> (action, extras).
        pays: (theta, z) -> the mean reward at every place of the plane, for pictures; the belief
            that is shown is E_{z ~ q} of it, over 32 draws.
    """

    def fold(theta: Theta, memory: Any, c: Array) -> Any:
        return encoder(theta).update(memory, c[None], jnp.ones(1, bool))

    def prior(theta: Theta, key: Key) -> BeliefState:
        return BeliefState(encoder(theta).init(), jnp.array(False))

    def step(theta: Theta, phi: BeliefState, timestep: TimeStep, key: Key):
        c = row(timestep.prev_action, timestep.obs, timestep.prev_reward)
        memory = where(phi.acted, fold(theta, phi.memory, c), phi.memory)
        q = encoder(theta).posterior(memory)
        action, extras = act(theta, q, timestep, key)
        return action, extras, BeliefState(memory, jnp.array(True))

    def adapt(theta: Theta, phi: BeliefState, trajectories: Any, key: Key) -> BeliefState:
        ended = trajectories.terminated[0] | trajectories.truncated[0]
        end = jnp.where(ended.any(), jnp.argmax(ended), ended.shape[0] - 1)
        last = jax.tree.map(lambda leaf: leaf[0, end], trajectories)
        c = row(last.action, last.next_obs, last.reward)
        return BeliefState(fold(theta, phi.memory, c), jnp.array(False))

    def expects(theta: Theta, phi: BeliefState, key: Key) -> Float[Array, " n"]:
        assert pays is not None
        q = encoder(theta).posterior(phi.memory)
        zs = jax.vmap(q.sample)(jr.split(key, 32))
        return jax.vmap(pays, (None, 0))(theta, zs).mean(axis=0)

    return Agent(prior, step, adapt, expects if pays else None)
