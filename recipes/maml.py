"""MAML: a policy from which one policy-gradient step on a new task's data leads far.

Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400.

    phi = theta':   theta' = theta - alpha grad L_in(theta; D),    D ~ pi_theta
    inner:          L_in = E_D [ -sg[pi_theta / pi_old] log pi_theta A ]   (the ratio is 1 at first)
    objective:      min E_T E_D' [ -pi_theta' / pi_old' A' ],    D' ~ pi_theta',
                    differentiated through the inner step, within a trust region on pi_theta'

That theta also decides *which* D the step is made of is left out: its data earn the pre-update
policy no credit. `--inner dice` puts that credit into the inner loss's second derivative,
`--first-order` leaves the second derivative out, `--step-sizes meta-sgd` learns alpha.

Unlike the published runs: tanh layers of 64, log sigma starts below 0, 20 tasks an update (on
half-cheetah 4 and 10) where those have 40. The presets learn alpha, and but for navigation's take
PPO's outer step (`--outer ppo`).
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

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
from metablocks.losses import (
    dice_loss,
    importance_ratio,
    policy_gradient_loss,
)
from metablocks.outer import OuterChoice, outer_step
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig, OuterChoice):
    """The numbers of a preset."""

    benchmark: Literal["navigation", "corners", "sparse-corners", "half-circle", "cheetah-dir",
                       "cheetah-vel"]  # fmt: skip
    """The tasks, p(T)."""
    inner: Literal["likelihood", "dice"] = "likelihood"
    """The inner loss: without credit for what its data are, or with it."""
    dice_decay: float = 1.0
    """DiCE: how much an action counts in the credit of the next, in the second derivative."""

    only: ClassVar = OuterChoice.only | {"dice_decay": ("inner", "dice")}


class State(NamedTuple):
    theta: MetaPolicy
    outer: Any
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.first_order and cfg.inner == "dice":
        raise ValueError("inner is dice, a second derivative, and first_order has none: leave one "
                         "out")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)

    over_tasks = lambda function: jax.vmap(jax.vmap(function))

    # -- agent: theta' = theta - alpha grad L_in
    inner = {"likelihood": jax.vmap(policy_gradient_loss),
             "dice": partial(dice_loss, decay=cfg.dice_decay)}[cfg.inner]
    adapter = policy_gradient_adapter(cfg, lambda new, old, advantage: inner(
        new, importance_ratio(new, old) * advantage))     # 1, where theta still is what made D
    agent = policy_gradient_agent(cfg, adapter)

    # -- objective: every task's rounds [tasks, K + 1, N, T]
    post = jax.vmap(lambda rounds: outer_rows(rounds, cfg))              # D'

    def post_policies(theta, rounds):                                  # pi_theta'(. | s) on D'
        thetas = jax.vmap(lambda rounds: adapted(adapter, theta, theta.policy, rounds))(rounds)
        return over_tasks(policies)(post(thetas), post(rounds))

    def meta_loss(theta, pi, rounds):
        return over_tasks(partial(surrogates, cfg.surrogate))(pi, post(rounds)).mean()

    def moved(old, new, rounds):
        kl = over_tasks(over_steps(lambda old, new: old.kl(new).sum()))(old, new)
        return jnp.mean(kl, where=post(rounds).extras["live"])

    # -- learner
    outer = outer_step(cfg, post_policies, meta_loss, moved, num_updates=cfg.num_updates)

    def init(key):
        theta = meta_policy(cfg, obs_size, action_size, key)
        return State(theta, outer.init(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)
        theta, learned, metrics = outer.improve(state.theta, state.outer, rounds)
        updates, returns = state.updates + 1, round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1],
                    "grad_steps": updates * outer.steps,
                    "env_steps": updates * rounds.reward.size}
        return State(theta, learned, updates), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
