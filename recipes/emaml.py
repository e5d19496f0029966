"""E-MAML: MAML whose pre-update policy is paid for the data that it adapts by.

Stadie, Yang, Houthooft, Chen, Duan, Wu, Abbeel, Sutskever 2018, https://arxiv.org/abs/1803.01118.

    phi = theta':   theta' = theta - alpha grad L_in(theta; D),    D ~ pi_theta
    inner:          L_in = E_D [ -sg[pi_theta / pi_old] log pi_theta A ]   (the ratio is 1 at first)
    objective:      min E_T [ L_clip(theta'; D') - lambda sg[R(D')] E_D log pi_theta ],
                    D' ~ pi_theta':  both terms of the gradient of E_{D ~ pi_theta} R(theta'(D)),
                    the second up to a factor, as E_D is a mean over steps where it has a sum

R(D') is the return after adaptation, standardised over the tasks of an update: where it is high,
what was done before adapting to it becomes more likely. With lambda = 0 this is MAML with
`--outer ppo`. A round is credited for every round after it that the outer loss is of; in later
epochs its log-likelihood is weighed by its ratio.

The E-MAML in ProMP's released code standardises single rewards over an update and takes their mean
over a task's steps; here the task's mean return is standardised. Both credit every action of D.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from metablocks.adapters import (
    MetaPolicy,
    adapted,
    log_probs,
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
from metablocks.losses import (
    importance_ratio,
    policy_gradient_loss,
    ppo_clip_loss,
    sampling_credit_loss,
    standardised,
)
from metablocks.outer import OuterConfig, meta_adam
from metablocks.trees import gradient_steps, mean_and_sum, split_last
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig, OuterConfig):
    """The numbers of a preset."""

    benchmark: Literal["navigation", "corners", "sparse-corners", "half-circle", "cheetah-dir",
                       "cheetah-vel"]  # fmt: skip
    """The tasks, p(T)."""
    credit_coef: float = 1.0
    """Weight lambda of the sampling credit; 0 for MAML."""


class State(NamedTuple):
    theta: MetaPolicy
    opt_state: Any
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.credit_coef and cfg.meta_batch < 2:
        raise ValueError("meta_batch must be at least 2 where credit_coef is above 0, as the "
                         f"credit compares tasks, got {cfg.meta_batch}: give more")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)
    optimiser = meta_adam(cfg, num_updates=cfg.num_updates)

    # -- agent: theta' = theta - alpha grad L_in
    adapter = policy_gradient_adapter(cfg, lambda new, old, advantage: jax.vmap(
        policy_gradient_loss)(new, importance_ratio(new, old) * advantage))
    agent = policy_gradient_agent(cfg, adapter)

    def worths(rounds):                                                  # of every D_k, [tasks, K]
        returns = (rounds.extras["live"] * rounds.reward).sum(-1).mean(-1)[:, 1:]
        worth = jax.vmap(standardised, in_axes=1, out_axes=1)(returns)
        if cfg.outer_rounds == "last":
            return jnp.broadcast_to(worth[:, -1:], worth.shape)
        return jnp.cumsum(worth[:, ::-1], axis=1)[:, ::-1] / worth.shape[1]

    # -- objective: one task's rounds [K + 1, N, T], and what each but the last is worth
    def meta_losses(theta, rounds, worth):
        thetas = adapted(adapter, theta, theta.policy, rounds)           # theta_0, ..., theta_K
        made = jax.vmap(policies)(thetas, rounds), rounds
        clip = partial(ppo_clip_loss, epsilon=cfg.epsilon)
        outer = jax.vmap(partial(surrogates, clip))(*outer_rows(made, cfg))
        (before, pre), _ = split_last(made)
        log_prob = jax.vmap(log_probs)(before, pre)
        worth = jnp.broadcast_to(worth[:, None, None], log_prob.shape)
        credit = jax.vmap(over_steps(lambda live, new, old, worth: live * importance_ratio(
            new, old) * sampling_credit_loss(new, worth)))(
                pre.extras["live"], log_prob, pre.extras["log_prob"], worth)
        return {"outer": outer.mean(), "credit": cfg.credit_coef * credit.mean()}

    # -- learner
    def init(key):
        theta = meta_policy(cfg, obs_size, action_size, key)
        return State(theta, optimiser.init(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)
        worth = worths(rounds)

        def loss(theta, epoch):
            return mean_and_sum(jax.vmap(meta_losses, (None, 0, 0))(theta, rounds, worth))

        theta, opt_state, metrics = gradient_steps(
            loss, optimiser, state.theta, state.opt_state, jnp.arange(cfg.epochs))
        updates, returns = state.updates + 1, round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1], "grad_steps": updates * cfg.epochs,
                    "env_steps": updates * rounds.reward.size}
        return State(theta, opt_state, updates), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
