"""ProMP: proximal meta-policy search, which credits pre-update actions for what they led to.

Rothfuss, Lee, Clavera, Asfour, Abbeel 2019, https://arxiv.org/abs/1810.06784.

    phi = theta':   theta' = theta - alpha grad L_in(theta; D),    D ~ pi_theta
    inner:          L_in = E_D [ -rho A ],    rho = pi_theta / pi_old,    the second derivative of
                    which gives each action of D its own credit (the low-variance curvature)
    objective:      min E_T [ L_clip(theta'; D') + eta KL(pi_old || pi_theta; D) ],  D' ~ pi_theta',
                    L_clip = E_D' [ -min(rho' A', clip(rho', 1 +- epsilon) A') ],
                    rho' = pi_theta' / pi_old'

The clip holds the *adapted* policies near where D' was made, the KL the *pre-update* policies near
where each D was made (with K inner steps: the mean over theta_0, ..., theta_{K-1}, with one eta):
then all of the data serve several steps of Adam.

Unlike the published runs: alpha is learned and starts larger (but on half-cheetah), updates are of
fewer tasks, Adam's step size is larger and falls, log sigma starts below 0 in a box of [-1, 1];
half-cheetah has 10 episodes of 200 steps a round (20 of 100), ten steps of Adam (five) and lambda
.95, navigation three steps; steps beyond the trained ones are half as long (MAML's test).
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from metablocks.adapters import (
    MetaPolicy,
    adapted,
    meta_policy,
    outer_rows,
    over_steps,
    policies,
    policy_gradient_adapter,
    policy_gradient_agent,
    surrogates,
)
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.losses import adaptive_coef, likelihood_ratio_loss, ppo_clip_loss
from metablocks.outer import OuterConfig, meta_adam
from metablocks.trees import gradient_steps, mean_and_sum, split_last
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig, OuterConfig):
    """The numbers of a preset."""

    benchmark: Literal["navigation", "corners", "sparse-corners", "half-circle", "cheetah-dir",
                       "cheetah-vel"]  # fmt: skip
    """The tasks, p(T)."""
    kl_coef: float = 5e-4
    """Weight eta of the pre-update KL, at first where it adapts."""
    kl_target: float = 0.0
    """The KL that eta is adapted to; 0 for a fixed eta."""


class State(NamedTuple):
    theta: MetaPolicy
    opt_state: Any
    kl_coef: Any
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.kl_target and not cfg.kl_coef:
        raise ValueError("kl_coef must be above 0 where it adapts to a kl_target, got 0: give "
                         "what it starts from")
    if cfg.first_order:
        raise ValueError("first_order leaves out what ProMP is made of: leave it out, or use maml")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)
    optimiser = meta_adam(cfg, num_updates=cfg.num_updates)

    # -- agent: theta' = theta - alpha grad L_in
    adapter = policy_gradient_adapter(cfg, jax.vmap(likelihood_ratio_loss))
    agent = policy_gradient_agent(cfg, adapter)

    # -- objective: one task's rounds [K + 1, N, T]
    def meta_losses(theta, rounds, kl_coef):
        thetas = adapted(adapter, theta, theta.policy, rounds)           # theta_0, ..., theta_K
        made = jax.vmap(policies)(thetas, rounds), rounds
        pi, post = outer_rows(made, cfg)
        clip = partial(ppo_clip_loss, epsilon=cfg.epsilon)
        outer = jax.vmap(partial(surrogates, clip))(pi, post)
        (before, pre), _ = split_last(made)
        moved = over_steps(lambda pi, row: row.extras["pi"].kl(pi).sum())
        kl = jnp.mean(jax.vmap(moved)(before, pre), where=pre.extras["live"])
        return {"outer": outer.mean(), "kl": kl_coef * kl}

    # -- learner
    def init(key):
        theta = meta_policy(cfg, obs_size, action_size, key)
        return State(theta, optimiser.init(theta), jnp.array(cfg.kl_coef), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)

        def loss(theta, epoch):
            losses = jax.vmap(meta_losses, (None, 0, None))(theta, rounds, state.kl_coef)
            return mean_and_sum(losses)

        theta, opt_state, metrics = gradient_steps(
            loss, optimiser, state.theta, state.opt_state, jnp.arange(cfg.epochs))
        kl_coef, updates, returns = state.kl_coef, state.updates + 1, round_returns(rounds)
        if cfg.kl_target:
            _, moved = loss(theta, None)
            kl_coef = adaptive_coef(kl_coef, moved["kl"] / kl_coef, target=cfg.kl_target)
        metrics |= {"pre": returns[0], "post": returns[-1], "grad_steps": updates * cfg.epochs,
                    "env_steps": updates * rounds.reward.size}
        return State(theta, opt_state, kl_coef, updates), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
