"""Meta-test: what adaptation is worth, episode by episode, on held-out tasks."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.rollout import (
    at_start,
    episode_return,
    last_live,
    null_step,
    one_episode,
    rollout,
)
from metablocks.types import Agent, Benchmark, Key, Phi, Task, Theta, Transition


def trial(
    agent: Agent,
    env: Any,
    theta: Theta,
    phi: Phi,
    task: Task,
    *,
    episodes: int,
    horizon: int,
    key: Key,
    shots: int = 1,
) -> tuple[Phi, Transition]:
    """Rounds of acting and adapting in one task.

        D_k ~ pi_theta(. | phi_k)  (`shots` of `horizon` steps),    phi_{k+1} = f_theta(phi_k, D_k)

    A memory that `act` carries goes on from the first shot, so an agent that adapts while it
    acts has shots = 1. What follows an episode that ended before its time changes no memory.
    Returns the last phi and the trajectories [episodes, shots, horizon].
    """

    acting = one_episode(agent)

    def episode(carry, key):
        phi, after = carry
        k_roll, k_adapt = jr.split(key)
        phis, trajectories = jax.vmap(
            lambda key, after: rollout(
                acting, env, theta, at_start(phi), task, num_steps=horizon, key=key, after=after
            )
        )(jr.split(k_roll, shots), after)
        phi = agent.adapt(theta, jax.tree.map(lambda x: x[0], phis.phi), trajectories, k_adapt)
        last = jax.vmap(last_live)(trajectories)
        return (phi, (last.action, last.reward)), trajectories

    nothing = jax.tree.map(lambda x: jnp.stack([x] * shots), null_step(env, task))
    (phi, _), trajectories = jax.lax.scan(episode, (phi, nothing), jr.split(key, episodes))
    return phi, trajectories


def trials(
    agent: Agent,
    benchmark: Benchmark,
    theta: Theta,
    phi: Phi,
    tasks: Task,
    *,
    episodes: int,
    key: Key,
    shots: int = 1,
) -> Transition:
    """One `trial` per task, each from its own phi.

    Returns the trajectories [tasks, episodes, shots, horizon].
    """

    def one(phi, task, key):
        return trial(
            agent,
            benchmark.env,
            theta,
            phi,
            task,
            episodes=episodes,
            horizon=benchmark.horizon,
            key=key,
            shots=shots,
        )[1]

    return jax.vmap(one)(phi, tasks, jr.split(key, count(tasks)))


def adaptation_curve(
    agent: Agent,
    benchmark: Benchmark,
    theta: Theta,
    tasks: Task,
    *,
    episodes: int,
    key: Key,
    shots: int = 1,
) -> tuple[Float[Array, "tasks episodes"], Transition]:
    """The return in adaptation round k = 0, 1, 2, ... of every task, starting from the prior.

    Returns the returns [tasks, episodes] (means over the shots of a round) and the first shot's
    trajectories [tasks, episodes, horizon].
    """
    k_prior, k_trials = jr.split(key)
    phi = jax.vmap(agent.prior, (None, 0))(theta, jr.split(k_prior, count(tasks)))
    trajectories = trials(
        agent, benchmark, theta, phi, tasks, episodes=episodes, key=k_trials, shots=shots
    )
    returns = jax.vmap(jax.vmap(jax.vmap(episode_return)))(trajectories)
    return returns.mean(axis=2), jax.tree.map(lambda x: x[:, :, 0], trajectories)


def repeats_averaged(
    descriptors: Float[Array, "tasks d"], returns: Float[Array, "tasks episodes"]
) -> tuple[Float[Array, "tasks episodes"], Float[Array, ""]]:
    """Every trial's return replaced by the mean over the trials of its task, and how many tasks
    there are: a finite set is evaluated several times, and repeats are not new tasks."""
    same = (descriptors[:, None] == descriptors[None]).all(axis=-1).astype(jnp.float32)
    repeats = same.sum(axis=1)
    return same @ returns / repeats[:, None], (1.0 / repeats).sum()


def count(tasks: Task) -> int:
    """How many tasks a stack of them holds."""
    return jax.tree.leaves(tasks)[0].shape[0]


def oracle_return(
    benchmark: Benchmark, tasks: Task, *, key: Key, episodes: int = 16
) -> Float[Array, " tasks"] | None:
    """The mean episode return of the agent that is told the task; None where none is known."""
    told = benchmark.oracle
    if told is None:
        return None

    def one(task, key):
        k_prior, k_episodes = jr.split(key)
        agent = told(task)
        phi = agent.prior(None, k_prior)

        def episode(key):
            _, trajectory = rollout(
                agent, benchmark.env, None, phi, task, num_steps=benchmark.horizon, key=key
            )
            return episode_return(trajectory)

        return jax.vmap(episode)(jr.split(k_episodes, episodes)).mean()

    return jax.vmap(one)(tasks, jr.split(key, count(tasks)))
