"""MAML with a recurrent policy: a memory within the episode, gradient steps between rounds.

    a_t ~ pi_theta'(. | h_t),   h_t = GRU_theta'(h_{t-1}, s_t, a_{t-1}, r_{t-1}),   h_0 per episode
    theta' = theta - alpha grad E_D [ -pi_theta(a | h) / pi_old A ],  through every h of an episode
    min_theta E_T E_D' [ clipped surrogate of pi_theta' ]

MAML (https://arxiv.org/abs/1703.03400) on the memory of RL2 (https://arxiv.org/abs/1611.02779).
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metablocks.adapters import Adapted, gradient_adapter, surrogates, unadapted, with_advantages
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs.catalogue import sizes
from metablocks.envs.point_goal import navigation
from metablocks.losses import likelihood_ratio_loss, ppo_clip_loss
from metablocks.nets import RecurrentActorCritic
from metablocks.outer import adam_epochs
from metablocks.trees import split_last, where
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RoundsConfig):
    num_updates: int = 60
    horizon: int = 50
    width: int = 32
    inner_lr: float = 0.5
    lr: float = 3e-3
    epochs: int = 5
    epsilon: float = 0.3


class Phi(NamedTuple):
    adapted: Adapted
    memory: Any


class State(NamedTuple):
    theta: RecurrentActorCritic
    outer: Any
    updates: Any


def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = navigation(horizon=cfg.horizon)
    obs_size, action_size = sizes(benchmark)

    def policies(net, rows):
        def episode(steps):  # the same resets as in `act`
            def step(memory, now):
                memory, (pi, _) = net.step(where(now.first, net.init(), memory), now)
                return memory, pi

            return jax.lax.scan(step, net.init(), steps)[1]

        return jax.vmap(episode)(rows.timestep)

    def inner_loss(theta, net, rows):
        return surrogates(likelihood_ratio_loss, policies(net, rows), rows).mean()

    adapter = gradient_adapter(inner_loss, lambda theta, step: cfg.inner_lr)

    def act(theta, phi, timestep, key):
        net = phi.adapted.params
        memory = where(timestep.first, net.init(), phi.memory)
        memory, (pi, _) = net.step(memory, timestep)
        action = pi.sample(key)
        return action, {"log_prob": pi.log_prob(action)}, Phi(phi.adapted, memory)

    def adapt(theta, phi, rows, key):
        return Phi(adapter.step(theta, phi.adapted, with_advantages(rows, cfg)), phi.memory)

    agent = Agent(lambda theta, key: Phi(unadapted(theta), theta.init()), act, adapt)

    def post_policies(theta, rounds):
        def one(rounds):
            pre, post = split_last(rounds)
            return policies(adapter.unroll(theta, unadapted(theta), pre)[1].params, post)

        return jax.vmap(one)(rounds)

    def meta_loss(theta, pi, rounds):
        post = jax.tree.map(lambda leaf: leaf[:, -1], rounds)
        clip = partial(ppo_clip_loss, epsilon=cfg.epsilon)
        return jax.vmap(partial(surrogates, clip))(pi, post).mean()

    outer = adam_epochs(post_policies, meta_loss, optimiser=optax.adam(cfg.lr), epochs=cfg.epochs)

    def init(key):
        theta = RecurrentActorCritic(
            obs_size, action_size, discrete=False, width=cfg.width, key=key
        )
        return State(theta, outer.init(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)
        theta, learned, metrics = outer.improve(state.theta, state.outer, rounds)
        returns = round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1]}
        metrics["env_steps"] = (state.updates + 1) * rounds.reward.size
        return State(theta, learned, state.updates + 1), metrics

    return Learner(init, update), agent, benchmark
