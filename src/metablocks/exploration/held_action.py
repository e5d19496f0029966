"""Undirected exploration that still gets somewhere: one random action, held for an episode."""

import jax.numpy as jnp
import jax.random as jr

from metablocks.types import Agent


def held_action(action_size: int, *, noise: float) -> Agent:
    """The agent that draws a direction per round and keeps to it.

        a_t = clip(u + noise * epsilon_t, -1, 1),    u ~ U[-1, 1]^d once a round

    White noise around zero hardly leaves the start; a held direction sweeps the reachable set.
    It neither reads theta nor learns. phi is u, [action_size].

    Raises:
        ValueError: action_size is not positive or noise is negative.
    """
    if action_size < 1 or noise < 0:
        raise ValueError(
            f"action_size must be positive and noise not negative, got {action_size} and {noise}"
        )

    def draw(key):
        return jr.uniform(key, (action_size,), minval=-1.0, maxval=1.0)

    def act(theta, phi, timestep, key):
        action = phi + noise * jr.normal(key, (action_size,))
        return jnp.clip(action, -1.0, 1.0), {}, phi

    return Agent(
        prior=lambda theta, key: draw(key),
        act=act,
        adapt=lambda theta, phi, trajectories, key: draw(key),
    )
