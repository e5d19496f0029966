"""A recipe of the smallest kind: regress a gain, and steer to where rewards were high.

    w <- w - lr grad (x . w - x . w*)^2

It learns, adapts and keeps a replay-like array, so that everything a run must carry is there.
"""

import dataclasses
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.envs.point_goal import PointGoal, PointGoalEnv, minus_distance
from metablocks.ranges import Ranged
from metablocks.types import Agent, Benchmark, Learner, Plane


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Ranged):
    """The numbers of the tiny recipe."""

    num_updates: int = 30
    """How many updates to train."""
    eval_every: int = 10
    """Updates between two evaluations."""
    eval_tasks: int = 4
    """Held-out tasks of an evaluation."""
    eval_episodes: int = 3
    """Episodes of an adaptation curve."""
    horizon: int = 8
    """Steps of an episode."""
    lr: float = 0.05
    """Step size of the regression."""
    nan_at: int = 0
    """The update whose loss is not a number (0: none)."""
    nan_state_at: int = 0
    """The update that breaks the replay (0: none)."""
    shift: bool = False
    """Whether the regression's target is shifted."""
    noise: Literal["low", "high"] = "low"
    """How much the explorer wanders."""

    only: ClassVar = {"nan_state_at": ("shift", False)}


class State(NamedTuple):
    theta: dict
    replay: jax.Array
    nothing: jax.Array
    count: jax.Array


def world(horizon: int) -> Benchmark:
    """A point that starts at the origin and is told by its reward how far the goal is."""

    def tasks(key, num):
        goals = jr.uniform(key, (num, 2), minval=-0.5, maxval=0.5)
        return PointGoal(
            goal=goals, max_steps_in_episode=jnp.full(num, horizon), dense=jnp.zeros(num, bool)
        )

    def told(task):
        def act(theta, phi, timestep, key):
            return jnp.clip((task.goal - timestep.obs) * 10, -1, 1), {}, phi

        return Agent(lambda theta, key: None, act, lambda theta, phi, trajs, key: phi)

    env = PointGoalEnv(
        scale=0.1,
        reward=minus_distance,
        start=lambda key: jnp.zeros(2),
        reached=lambda gap: jnp.all(jnp.abs(gap) < 0.01),
    )
    plane = Plane(lambda step: step.timestep.obs, lambda task: task.goal)
    return Benchmark(env, horizon, tasks, tasks, lambda task: task.goal, told, plane)


def make(cfg: Config):
    if cfg.lr > 1:
        raise ValueError(f"lr must be at most 1, got {cfg.lr}")
    benchmark = world(cfg.horizon)
    spread = {"low": 0.3, "high": 0.9}[cfg.noise]

    def act(theta, phi, timestep, key):
        gain = theta["w"].mean()
        pull = gain * (phi - timestep.obs) * 10.0
        return jnp.clip(pull, -1, 1) + spread * jr.normal(key, (2,)), {}, phi

    def adapt(theta, phi, trajs, key):
        weight = jax.nn.softmax(trajs.extras["dense_reward"].reshape(-1) * 20)
        return phi + 0.7 * (weight @ trajs.next_obs.reshape(-1, 2) * 2 - phi)

    agent = Agent(lambda theta, key: jnp.zeros(2), act, adapt)

    def init(key):
        return State(
            {"w": 0.1 * jr.normal(key, (3,)), "b": jnp.zeros((), jnp.bfloat16)},
            jnp.zeros((16, 3)),
            jnp.zeros((0, 2)),
            jnp.int32(0),
        )

    def update(state, key):
        x = jr.normal(key, (3,))
        replay = state.replay.at[state.count % 16].set(x)
        target = jnp.ones(3) + cfg.shift

        def loss_of(w):
            return ((replay @ (w - target)) ** 2).mean()

        loss, grad = jax.value_and_grad(loss_of)(state.theta["w"])
        count = state.count + 1
        loss = jnp.where(count == cfg.nan_at, jnp.nan, loss)
        replay = jnp.where(count == cfg.nan_state_at, jnp.nan, replay)
        theta = state.theta | {"w": state.theta["w"] - cfg.lr * grad}
        metrics = {"loss": loss, "norm": jnp.abs(x).sum()}
        metrics |= {"env_steps": count * 8, "grad_steps": count}
        return State(theta, replay, state.nothing, count), metrics

    return Learner(init, update), agent, benchmark


PRESETS = {"small": Config(), "long": Config(num_updates=4000, eval_every=40)}

if __name__ == "__main__":
    from metablocks.experiment import main

    main(make, PRESETS)
