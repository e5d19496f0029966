"""Laws of an `Agent`."""

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.laws.claim import fail, for_all, same_structure
from metablocks.rollout import null_step, rollout
from metablocks.trees import take
from metablocks.types import Agent, Benchmark, Theta, TimeStep


def agent_preserves_structure(
    agent: Agent,
    benchmark: Benchmark,
    theta: Theta,
    *,
    shots: int = 2,
    num_steps: int = 5,
    examples: int = 3,
    clipped: bool = False,
) -> None:
    """prior(theta), act(theta, phi, s) and adapt(theta, phi, D) make phis of one structure, and
    a in A.

    One structure is one treedef, with the same shapes and dtypes: what lets one `rollout` and one
    `adaptation_curve` carry any agent's phi. A is the action space of the task.

    Args:
        clipped: leaves a in A to the world, for the sake of policies whose draws know no bounds,
            such as `NormalPolicy`'s, in worlds that clip.
    """
    env = benchmark.env

    def meet(key):
        """A task, the prior's phi in it, and the first time step."""
        k_task, k_prior, k_reset = jr.split(key, 3)
        task = take(benchmark.train(k_task, 1), jnp.array(0))
        obs, _ = env.reset(k_reset, task)
        timestep = TimeStep(obs, *null_step(env, task), jnp.array(True))
        return task, agent.prior(theta, k_prior), timestep

    def acted(key):
        k_meet, k_act, k_sample = jr.split(key, 3)
        task, phi, timestep = meet(k_meet)
        action, _, phi = agent.act(theta, phi, timestep, k_act)
        return action, phi, env.action_space(task).sample(k_sample)

    def episodes(key, phi, task):
        def episode(key):
            return rollout(agent, env, theta, phi, task, num_steps=num_steps, key=key)

        return jax.vmap(episode)(jr.split(key, shots))

    def adapted(key):
        k_meet, k_episodes, k_adapt = jr.split(key, 3)
        task, phi, _ = meet(k_meet)
        phis, rows = episodes(k_episodes, phi, task)
        return task, agent.adapt(theta, take(phis, jnp.array(0)), rows, k_adapt), rows

    @jax.jit
    def actions(key):
        k_first, k_second = jr.split(key)
        task, phi, first = adapted(k_first)
        _, second = episodes(k_second, phi, task)
        both = jnp.concatenate([first.action, second.action])
        return both, jax.vmap(jax.vmap(env.action_space(task).contains))(both)

    def structure():
        key = jr.key(0)
        _, prior, _ = jax.eval_shape(meet, key)
        action, phi, expected = jax.eval_shape(acted, key)
        same_structure(prior, phi, "act keeps the structure of prior's phi", seed=0)
        same_structure(expected, action, "a has the shape and dtype of the action space", seed=0)
        _, phi, _ = jax.eval_shape(adapted, key)
        same_structure(prior, phi, "adapt keeps the structure of prior's phi", seed=0)

    def check(seed):
        taken, allowed = actions(jr.key(seed))
        if not clipped and not allowed.all():
            outside = taken[~allowed]
            fail("a in A", f"{len(outside)} actions outside, the first {outside[0]}", seed=seed)

    structure()
    for_all(check, examples=examples)
