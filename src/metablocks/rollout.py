"""The only environment loop in the package."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Shaped

from metablocks.trees import take, where
from metablocks.types import Agent, Key, Phi, Task, Theta, TimeStep, Transition

GYMNAX_INFO = ("terminated", "truncated", "final_observation", "discount")


def rollout(
    agent: Agent,
    env: Any,
    theta: Theta,
    phi: Phi,
    task: Task,
    *,
    num_steps: int,
    key: Key,
    after: tuple[Array, Array] | None = None,
) -> tuple[Phi, Transition]:
    """One agent acts in one task for `num_steps` steps, from a fresh start state.

        a_t ~ pi_theta(. | s_t, phi),    s_{t+1}, r_t ~ P_task(. | s_t, a_t)

    Episodes that end inside the rollout are followed by a new one in the *same* task. `after` is
    the action and the reward of the step before, where a trial goes on from an earlier rollout.
    Returns phi as `act` left it, and the trajectory [num_steps], whose extras hold what the
    policy recorded and whatever else the environment reports in its `info`.
    """
    k_reset, k_steps = jr.split(key)
    obs, env_state = env.reset(k_reset, task)
    prev_action, prev_reward = null_step(env, task) if after is None else after
    timestep = TimeStep(obs, prev_action, prev_reward, jnp.array(True))

    def step(carry, key):
        env_state, timestep, phi = carry
        k_act, k_env = jr.split(key)
        action, extras, phi = agent.act(theta, phi, timestep, k_act)
        obs, env_state, reward, terminated, truncated, info = env.step(
            k_env, env_state, action, task
        )
        reward = jnp.asarray(reward, jnp.float32)
        world = {name: value for name, value in info.items() if name not in GYMNAX_INFO}
        transition = Transition(
            timestep=timestep,
            action=action,
            reward=reward,
            next_obs=info["final_observation"],
            terminated=terminated,
            truncated=truncated & ~terminated,
            extras=world | extras,
        )
        timestep = TimeStep(obs, action, reward, terminated | truncated)
        return (env_state, timestep, phi), transition

    (_, _, phi), trajectory = jax.lax.scan(
        step, (env_state, timestep, phi), jr.split(k_steps, num_steps)
    )
    return phi, trajectory


def null_step(env: Any, task: Task) -> tuple[Shaped[Array, "*action"], Float[Array, ""]]:
    """The previous action and reward of a step that has none: zeros."""
    action = jax.eval_shape(env.action_space(task).sample, jr.key(0))
    return jnp.zeros(action.shape, action.dtype), jnp.zeros(())


class OneEpisode(NamedTuple):
    """phi of `one_episode`."""

    phi: Phi
    begun: Bool[Array, ""]
    over: Bool[Array, ""]


def one_episode(agent: Agent) -> Agent:
    """The agent whose phi stays as it is when the rollout's first episode ends.

    What follows an episode that ended before its time is of no episode: nothing is remembered of
    it, as nothing is earned in it.
    """

    def act(theta: Theta, phi: OneEpisode, timestep: TimeStep, key: Key):
        over = phi.over | (phi.begun & timestep.first)
        action, extras, new = agent.act(theta, phi.phi, timestep, key)
        kept = where(over, phi.phi, new)
        return action, extras, OneEpisode(kept, jnp.array(True), over)

    return agent._replace(act=act)


def at_start(phi: Phi) -> OneEpisode:
    """phi before the rollout's first step."""
    return OneEpisode(phi, jnp.array(False), jnp.array(False))


def last_live(trajectory: Transition) -> Transition:
    """The step that ends the trajectory's first episode."""
    return take(trajectory, live(trajectory).sum() - 1)


def live(trajectory: Transition) -> Bool[Array, " T"]:
    """Which steps [T] belong to the trajectory's first episode."""
    ended = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    return jnp.cumsum(ended) - ended == 0


def episode_return(trajectory: Transition) -> Float[Array, ""]:
    """The undiscounted return of the trajectory's first episode."""
    return jnp.sum(trajectory.reward * live(trajectory))
