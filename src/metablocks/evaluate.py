"""Meta-test: what adaptation is worth, episode by episode, on held-out tasks."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.rollout import episode_return, null_step, rollout
from metablocks.trees import take
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

        D_k ~ pi_theta(. | phi_k)  (`shots` episodes),    phi_{k+1} = f_theta(phi_k, D_k)

    A memory that `act` carries goes on from the first shot, so an agent that adapts while it
    acts has shots = 1. Returns the last phi and the trajectories [episodes, shots, horizon].
    """

    def episode(carry, key):
        phi, after = carry
        k_roll, k_adapt = jr.split(key)
        phis, trajectories = jax.vmap(
            lambda key, after: rollout(
                agent, env, theta, phi, task, num_steps=horizon, key=key, after=after
            )
        )(jr.split(k_roll, shots), after)
        phi = agent.adapt(theta, take(phis, 0), trajectories, k_adapt)
        last = (trajectories.action[:, -1], trajectories.reward[:, -1])
        return (phi, last), trajectories

    nothing = jax.tree.map(lambda x: jnp.stack([x] * shots), null_step(env, task))
    (phi, _), trajectories = jax.lax.scan(episode, (phi, nothing), jr.split(key, episodes))
    return phi, trajectories


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

    def one(task, key):
        k_prior, k_trial = jr.split(key)
        _, trajectories = trial(
            agent,
            benchmark.env,
            theta,
            agent.prior(theta, k_prior),
            task,
            episodes=episodes,
            horizon=benchmark.horizon,
            key=k_trial,
            shots=shots,
        )
        returns = jax.vmap(jax.vmap(episode_return))(trajectories).mean(axis=1)
        return returns, jax.tree.map(lambda x: x[:, 0], trajectories)

    num_tasks = jax.tree.leaves(tasks)[0].shape[0]
    return jax.vmap(one)(tasks, jr.split(key, num_tasks))


def oracle_return(
    benchmark: Benchmark, tasks: Task, *, key: Key, episodes: int = 16
) -> Float[Array, " tasks"] | None:
    """The mean episode return of the agent that is told the task; None where none is known."""
    told = benchmark.oracle
    if told is None:
        return None

    def one(task, key):
        agent = told(task)
        phi = agent.prior(None, key)

        def episode(key):
            _, trajectory = rollout(
                agent, benchmark.env, None, phi, task, num_steps=benchmark.horizon, key=key
            )
            return episode_return(trajectory)

        return jax.vmap(episode)(jr.split(key, episodes)).mean()

    num_tasks = jax.tree.leaves(tasks)[0].shape[0]
    return jax.vmap(one)(tasks, jr.split(key, num_tasks))
