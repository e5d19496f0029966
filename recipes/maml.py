"""MAML: a policy from which one policy-gradient step on a new task's data leads far.

Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400.

    phi = theta':   theta' = theta - alpha grad L_in(theta; D),    D ~ pi_theta
    inner:          L_in = E_D [ -log pi_theta A ]                                            (4)
    objective:      min E_T E_D' [ -pi_theta' / pi_old' A' ],    D' ~ pi_theta',
                    differentiated through the inner step, within a trust region on pi_theta'

That theta also decides *which* D the step is made of is left out: its data earn the pre-update
policy no credit. `--inner dice` puts that credit into the inner loss's second derivative,
`--first-order` leaves the second derivative out, `--step-sizes meta-sgd` learns alpha.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from metablocks.adapters import (
    MetaPolicy,
    adapted,
    log_probs,
    meta_adam,
    meta_policy,
    over_steps,
    policies,
    policy_gradient_adapter,
    policy_gradient_agent,
)  # fmt: skip
from metablocks.collection import RoundsConfig, new_rounds, round_returns
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.losses import (
    dice_loss,
    likelihood_ratio_loss,
    policy_gradient_loss,
    ppo_clip_loss,
)  # fmt: skip
from metablocks.trees import gradient_steps
from metablocks.trust_region import trust_region
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig):
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
    epochs: int = 5
    """PPO: steps of Adam on an update's data."""
    lr: float = 1e-3
    """PPO: Adam's step size for the policy."""
    alpha_lr: float = 1e-2
    """PPO: Adam's step size for alpha, where it is learned."""
    epsilon: float = 0.3
    """PPO: the clip."""


class State(NamedTuple):
    theta: MetaPolicy
    outer: Any
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)

    # -- agent: theta' = theta - alpha grad L_in
    inner = {
        "likelihood": lambda new, old, advantage: jax.vmap(policy_gradient_loss)(new, advantage),
        "dice": lambda new, old, advantage: dice_loss(new, advantage, decay=cfg.dice_decay),
    }[cfg.inner]
    adapter = policy_gradient_adapter(cfg, inner)
    agent = policy_gradient_agent(cfg, adapter)

    # -- objective: every task's rounds [K + 1, N, T]
    surrogate = likelihood_ratio_loss
    if cfg.outer == "ppo":
        surrogate = lambda *row: ppo_clip_loss(*row, epsilon=cfg.epsilon)

    def post_loss(theta, rounds):
        _, _, post, after = adapted(adapter, theta, rounds)
        return over_steps(surrogate)(
            log_probs(after, post), post.extras["log_prob"], post.extras["advantage"]).mean()

    def meta_loss(theta, rounds):
        return jax.vmap(post_loss, (None, 0))(theta, rounds).mean()

    def post_policies(theta, rounds):
        _, _, post, after = adapted(adapter, theta, rounds)
        return policies(after, post)

    def moved(old, new, rounds):
        kl = jax.vmap(over_steps(lambda old, new: old.kl(new).sum()))(old, new)
        return jnp.mean(kl, where=rounds.extras["live"][:, -1])

    # -- learner: the outer step
    if cfg.outer == "trust-region":
        region = trust_region(
            meta_loss, jax.vmap(post_policies, (None, 0)), moved, radius=cfg.radius)
        start, improve = region.init, region.improve
    else:
        optimiser = meta_adam(cfg.lr, cfg.alpha_lr)
        start = optimiser.init

        def improve(theta, opt_state, rounds):
            def loss(theta, epoch):
                value = meta_loss(theta, rounds)
                return value, {"surrogate": value}

            return gradient_steps(loss, optimiser, theta, opt_state, jnp.arange(cfg.epochs))

    def init(key):
        theta = meta_policy(cfg, obs_size, action_size, key)
        return State(theta, start(theta), jnp.int32(0))

    def update(state, key):
        rounds = new_rounds(agent, benchmark, cfg, state.theta, key)
        theta, outer, metrics = improve(state.theta, state.outer, rounds)
        updates, returns = state.updates + 1, round_returns(rounds)
        steps = 1 if cfg.outer == "trust-region" else cfg.epochs
        metrics |= {"pre": returns[0], "post": returns[-1], "grad_steps": updates * steps,
                    "env_steps": updates * rounds.reward.size}
        return State(theta, outer, updates), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
