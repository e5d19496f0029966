"""MAESN's held latent, meta-trained by ProMP's outer loss.

    z ~ N(mu, sigma^2) once an episode,    a_t ~ pi_theta(. | s_t, z)
    (mu', sigma') = (mu, sigma) - alpha grad E_D [ -log N(z; mu, sigma^2) A_0 ],    from N(0, I)
    min_theta E_T [ clipped surrogate of pi_theta(. | s, z') on D'
                    + eta KL(pi_old(. | s, z) || pi_theta(. | s, z)) on D ],  z' = mu' + sigma' eps

MAESN (https://arxiv.org/abs/1802.07245) under ProMP's objective (https://arxiv.org/abs/1810.06784):
Adam takes several steps on the same data, and every task starts from the same law.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metablocks.adapters import (
    MetaPolicy,
    gradient_adapter,
    latent_agent,
    latent_loss,
    new_policy,
    over_steps,
    standard_latent,
    surrogates,
    unadapted,
    with_advantages,
)
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs.catalogue import sizes
from metablocks.envs.point_goal import half_circle
from metablocks.losses import ppo_clip_loss
from metablocks.outer import OuterConfig, meta_adam
from metablocks.trees import gradient_steps, mean_and_sum, split_last
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RoundsConfig, OuterConfig):
    num_updates: int = 150
    z_size: int = 2
    inner_steps: int = 2
    inner_lr: float = 0.5
    step_sizes: str = "meta-sgd"
    lr: float = 3e-3
    kl_coef: float = 5e-4


class State(NamedTuple):
    theta: MetaPolicy
    opt_state: Any
    updates: Any


def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = half_circle()
    obs_size, action_size = sizes(benchmark)
    standard, optimiser = standard_latent(cfg.z_size), meta_adam(cfg, num_updates=cfg.num_updates)

    def policy(theta, obs, z):
        return theta.policy(obs, z / (jnp.linalg.norm(z) + 1e-6))

    def act(theta, z, timestep, key):
        pi = policy(theta, timestep.obs, z)
        action = pi.sample(key)
        return action, {"log_prob": pi.log_prob(action), "pi": pi}

    adapter = gradient_adapter(
        lambda theta, law, rows: latent_loss(law, rows).mean(),
        lambda theta, step: cfg.sizes(theta.alpha, step),
    )
    agent = latent_agent(
        adapter, lambda theta: standard, act, lambda rows: with_advantages(rows, cfg)
    )

    def task_losses(theta, rounds):
        pre, post = split_last(rounds)
        _, phi = adapter.unroll(theta, unadapted(standard), pre)

        def after(obs, noise):
            return policy(theta, obs, phi.params.at(noise))

        def moved(row):
            return row.extras["pi"].kl(policy(theta, row.timestep.obs, row.extras["z"])).sum()

        kl = jax.vmap(over_steps(moved))(pre)
        pi = over_steps(after)(post.timestep.obs, post.extras["noise"])
        outer = surrogates(partial(ppo_clip_loss, epsilon=cfg.epsilon), pi, post)
        return {"outer": outer, "kl": cfg.kl_coef * kl}

    def init(key):
        net = new_policy(cfg, obs_size, action_size, z_size=cfg.z_size, key=key)
        theta = MetaPolicy(net, cfg.sizes.init(standard))
        return State(theta, optimiser.init(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)

        def loss(theta, epoch):
            return mean_and_sum(jax.vmap(task_losses, (None, 0))(theta, rounds))

        theta, opt_state, metrics = gradient_steps(
            loss, optimiser, state.theta, state.opt_state, jnp.arange(cfg.epochs)
        )
        returns = round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1]}
        metrics["env_steps"] = (state.updates + 1) * rounds.reward.size
        return State(theta, opt_state, state.updates + 1), metrics

    return Learner(init, update), agent, benchmark
