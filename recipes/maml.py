"""MAML: a policy from which one policy-gradient step on a new task's data leads far.

Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400.

    phi = theta':   theta' = theta - alpha grad L_in(theta; D),    D ~ pi_theta
    inner:          L_in = E_D [ -log pi_theta A ]
    objective:      min E_T E_D' [ -pi_theta' / pi_old' A' ],    D' ~ pi_theta',
                    differentiated through the inner step, within a trust region on pi_theta'

That theta also decides *which* D the step is made of is left out: its data earn the pre-update
policy no credit. `--inner dice` puts that credit into the inner loss's second derivative,
`--first-order` leaves the second derivative out, `--step-sizes meta-sgd` learns alpha.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from metablocks.adapters import (
    MetaPolicy,
    adapted,
    credited,
    meta_policy,
    over_steps,
    policies,
    policy_gradient_adapter,
    policy_gradient_agent,
)
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.losses import (
    dice_loss,
    likelihood_ratio_loss,
    policy_gradient_loss,
    ppo_clip_loss,
)
from metablocks.outer import OuterConfig, adam_epochs, meta_adam, trust_region
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig, OuterConfig):
    """The numbers of a preset."""

    benchmark: Literal["navigation", "corners", "sparse-corners", "half-circle", "cheetah-dir",
                       "cheetah-vel"]  # fmt: skip
    """The tasks, p(T)."""
    inner: Literal["likelihood", "dice"] = "likelihood"
    """The inner loss: without credit for what its data are, or with it."""
    dice_decay: float = 1.0
    """DiCE: how much an action counts in the credit of the next, in the second derivative."""
    outer: Literal["trust-region", "ppo"] = "trust-region"
    """The outer step: one within a trust region, or `epochs` of Adam on the clipped surrogate."""
    radius: float = 0.01
    """Trust region: the largest mean KL of the adapted policies."""


class State(NamedTuple):
    theta: MetaPolicy
    outer: Any
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)

    over_rounds = lambda function: jax.vmap(jax.vmap(over_steps(function)))
    credited_rounds = jax.vmap(lambda rounds: credited(rounds, cfg))

    # -- agent: theta' = theta - alpha grad L_in
    inner = {
        "likelihood": lambda new, old, advantage: jax.vmap(policy_gradient_loss)(new, advantage),
        "dice": lambda new, old, advantage: dice_loss(new, advantage, decay=cfg.dice_decay),
    }[cfg.inner]
    adapter = policy_gradient_adapter(cfg, inner)
    agent = policy_gradient_agent(cfg, adapter)

    # -- objective: every task's rounds [tasks, K + 1, N, T]
    surrogate = likelihood_ratio_loss
    if cfg.outer == "ppo":
        surrogate = lambda *row: ppo_clip_loss(*row, epsilon=cfg.epsilon)

    def post_policies(theta, rounds):                                  # pi_theta'(. | s) on D'
        thetas = jax.vmap(partial(adapted, adapter), (None, 0))(theta, rounds)
        return jax.vmap(lambda *made: jax.vmap(policies)(*credited(made, cfg)))(thetas, rounds)

    def meta_loss(theta, pi, rounds):
        post = credited_rounds(rounds)
        return over_rounds(lambda pi, row: surrogate(
            pi.log_prob(row.action), row.extras["log_prob"], row.extras["advantage"]))(
                pi, post).mean()

    def moved(old, new, rounds):
        kl = over_rounds(lambda old, new: old.kl(new).sum())(old, new)
        return jnp.mean(kl, where=credited_rounds(rounds).extras["live"])

    # -- learner
    if cfg.outer == "trust-region":
        outer = trust_region(post_policies, meta_loss, moved, radius=cfg.radius)
    else:
        outer = adam_epochs(post_policies, meta_loss, epochs=cfg.epochs,
                            optimiser=meta_adam(cfg, num_updates=cfg.num_updates))

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
