"""CAVIA: a few context parameters adapt, the network they are fed to does not.

    phi = c:     c' = c_0 - alpha grad_c E_D [ -pi_theta(a | s, c) / pi_old A ],    c_0 = 0
    objective:   min_theta E_T E_D' [ clipped surrogate of pi_theta(. | s, c') ]

Zintgraf et al. 2019, https://arxiv.org/abs/1810.03642, with PPO's outer loss.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metablocks.adapters import (
    gradient_adapter,
    gradient_agent,
    new_policy,
    policies,
    surrogates,
    unadapted,
    with_advantages,
)
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs.catalogue import sizes
from metablocks.envs.point_goal import navigation
from metablocks.losses import likelihood_ratio_loss, ppo_clip_loss
from metablocks.nets import NormalPolicy
from metablocks.outer import adam_epochs
from metablocks.trees import split_last
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RoundsConfig):
    num_updates: int = 60
    inner_lr: float = 10.0
    c_size: int = 8
    lr: float = 3e-3
    epochs: int = 5
    epsilon: float = 0.3


class State(NamedTuple):
    theta: NormalPolicy
    outer: Any
    updates: Any


def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = navigation()
    obs_size, action_size = sizes(benchmark)

    def pi_at(theta, c, rows):
        return policies(lambda obs: theta(obs, c), rows)

    adapter = gradient_adapter(
        lambda theta, c, rows: surrogates(
            likelihood_ratio_loss, pi_at(theta, c, rows), rows
        ).mean(),
        lambda theta, step: cfg.inner_lr,
    )

    def act(theta, c, timestep, key):
        pi = theta(timestep.obs, c)
        action = pi.sample(key)
        return action, {"log_prob": pi.log_prob(action)}

    nothing = jnp.zeros(cfg.c_size)
    agent = gradient_agent(
        adapter, lambda theta: nothing, act, lambda rows: with_advantages(rows, cfg)
    )

    def post_policies(theta, rounds):
        def one(rounds):
            pre, post = split_last(rounds)
            _, phi = adapter.unroll(theta, unadapted(nothing), pre)
            return pi_at(theta, phi.params, post)

        return jax.vmap(one)(rounds)

    def meta_loss(theta, pi, rounds):
        clip = partial(ppo_clip_loss, epsilon=cfg.epsilon)
        post = jax.tree.map(lambda leaf: leaf[:, -1], rounds)
        return jax.vmap(partial(surrogates, clip))(pi, post).mean()

    outer = adam_epochs(post_policies, meta_loss, optimiser=optax.adam(cfg.lr), epochs=cfg.epochs)

    def init(key):
        theta = new_policy(cfg, obs_size, action_size, z_size=cfg.c_size, key=key)
        return State(theta, outer.init(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)
        theta, learned, metrics = outer.improve(state.theta, state.outer, rounds)
        returns = round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1]}
        metrics["env_steps"] = (state.updates + 1) * rounds.reward.size
        return State(theta, learned, state.updates + 1), metrics

    return Learner(init, update), agent, benchmark
