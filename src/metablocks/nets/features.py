"""What networks see of actions and time steps, as vectors."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from metablocks.types import TimeStep


def action_vector(
    action: Shaped[Array, "*a"], num_actions: int, *, discrete: bool
) -> Float[Array, " a"]:
    """A discrete action one-hot, a real one as it is."""
    return jax.nn.one_hot(action, num_actions) if discrete else action


def step_features(
    timestep: TimeStep, num_actions: int, *, discrete: bool
) -> Float[Array, " features"]:
    """(s_t, a_{t-1}, r_{t-1}, whether an episode starts here), concatenated: RL2's input.

    a_{t-1} is what the policy chose, before a world with bounds clips it, as in VariBAD's released
    code: the action whose probability is learned from, and the one that every world reports.
    """
    action = action_vector(timestep.prev_action, num_actions, discrete=discrete)
    flags = [timestep.prev_reward[None], timestep.first[None].astype(jnp.float32)]
    return jnp.concatenate([timestep.obs, action, *flags])
