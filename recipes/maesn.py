"""MAESN: structured noise to explore with, and its law to adapt.

Gupta, Mendonca, Liu, Abbeel, Levine 2018, https://arxiv.org/abs/1802.07245.

    phi = (mu, sigma):   z ~ N(mu, sigma^2) once an episode,    a_t ~ pi_theta(. | s_t, z)
    inner:               (mu', log sigma') = (mu, log sigma)
                             - alpha grad E_D [ -log N(z; mu, sigma^2) A_0 ]
    objective:           min E_i [ E_D' [ -pi_theta(a | s, z') / pi_old A' ]
                                   + w KL(N(mu_i, sigma_i^2) || N(0, I)) ],
                         z' = mu_i' + sigma_i' epsilon,    D' ~ pi_theta(. | s, z'),
                         within a trust region on pi_theta(. | s, z')

Every training task i has its own pre-update law (mu_i, sigma_i), held near N(0, I), from which a
new task starts. Only the law adapts; theta, the laws and alpha are meta-trained.

As in the released code, the inner loss has no importance ratio, though several outer steps may look
at the same D. Unlike it: tanh layers of 64, log sigma of the policy starts below 0; `--outer ppo`,
`--z-input direction`, `--scale-share`, `--outer-rounds every` and several inner steps are ours.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.adapters import (
    LatentLaw,
    adapted,
    gradient_adapter,
    held,
    latent_agent,
    latent_loss,
    new_policy,
    outer_rows,
    over_steps,
    standard_latent,
    surrogates,
    with_advantages,
)
from metablocks.collection import RoundsConfig, round_returns, rounds_of
from metablocks.dists import standard_normal
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.nets import NormalPolicy
from metablocks.outer import OuterChoice, outer_step
from metablocks.trees import take
from metablocks.types import Agent, Benchmark, Learner, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, RoundsConfig, OuterChoice):
    """The numbers of a preset."""

    benchmark: Literal["half-circle", "navigation", "cheetah-dir", "cheetah-vel"]
    """The tasks, p(T)."""
    num_train_tasks: int = 100
    """Tasks of meta-training, each with a law of its own."""
    z_size: int = 2
    """Dimensions of z."""
    z_input: Literal["plain", "direction"] = "plain"
    """What the policy sees of z: all of it, or z / |z|."""
    scale_share: float = 1.0
    """Share of alpha in the steps of log sigma; with 0 the mean alone adapts."""
    kl_coef: float = 0.1
    """Weight w of the pre-update laws' KL."""
    later_decay: Literal["once", "every"] = "every"
    """Whether steps beyond the trained ones all have the share `later_steps`, or every one that
    share of the one before, from the third step on, as in the released test."""


class Theta(NamedTuple):
    policy: NormalPolicy
    laws: LatentLaw
    alpha: LatentLaw


class State(NamedTuple):
    theta: Theta
    outer: Any
    tasks: Task
    updates: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.meta_batch > cfg.num_train_tasks:
        raise ValueError(f"meta_batch must be at most num_train_tasks ({cfg.num_train_tasks}), "
                         f"got {cfg.meta_batch}: give fewer")
    for name in ("shots", "eval_shots"):
        if getattr(cfg, name) < 2:
            raise ValueError(f"{name} must be at least 2, as a law adapts by comparing draws, got "
                             f"{getattr(cfg, name)}: give more")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)
    standard = standard_latent(cfg.z_size)

    # -- agent: the law of z adapts
    def sizes(theta, step):
        alpha = cfg.sizes(theta.alpha, step)
        mean, log_scale = 2 * [alpha] if cfg.step_sizes == "fixed" else jax.tree.leaves(alpha)
        size = lambda alpha: jnp.broadcast_to(alpha, cfg.z_size)
        return LatentLaw(size(mean), size(cfg.scale_share * log_scale))

    adapter = gradient_adapter(
        lambda theta, law, rows: latent_loss(law, rows).mean(), sizes,
        first_order=cfg.first_order, rematerialise=cfg.rematerialise)

    def policy(theta, obs, z):
        seen = z if cfg.z_input == "plain" else z / (jnp.linalg.norm(z) + 1e-6)
        return theta.policy(obs, seen)

    def act(theta, z, timestep, key):
        pi = policy(theta, timestep.obs, z)
        action = pi.sample(key)
        return action, {"log_prob": pi.log_prob(action)}

    agent = latent_agent(
        adapter, lambda theta: standard, act, lambda rows: with_advantages(rows, cfg))

    # -- objective: one training task's rounds [K + 1, N, T], from its own law on
    over_tasks = lambda function: jax.vmap(jax.vmap(function))
    post = jax.vmap(lambda rounds: outer_rows(rounds, cfg))              # D'

    def post_policies(theta, data):                                    # pi_theta(. | s, z') on D'
        rounds, index = data
        laws = jax.vmap(partial(adapted, adapter, theta))(take(theta.laws, index), rounds)

        def policies(law, rows):
            return over_steps(lambda obs, noise: policy(theta, obs, law.at(noise)))(
                rows.timestep.obs, rows.extras["noise"])

        return over_tasks(policies)(post(laws), post(rounds))

    def meta_loss(theta, pi, data):
        rounds, index = data
        outer = over_tasks(partial(surrogates, cfg.surrogate))(pi, post(rounds))
        kl = jax.vmap(lambda law: law.law().kl(standard_normal(cfg.z_size)).sum())(
            take(theta.laws, index))
        return outer.mean() + cfg.kl_coef * kl.mean()

    def moved(old, new, data):
        kl = over_tasks(over_steps(lambda old, new: old.kl(new).sum()))(old, new)
        return jnp.mean(kl, where=post(data[0]).extras["live"])

    # -- learner
    outer = outer_step(cfg, post_policies, meta_loss, moved, num_updates=cfg.num_updates)

    def init(key):
        k_policy, k_laws, k_tasks = jr.split(key, 3)
        net = new_policy(cfg, obs_size, action_size, z_size=cfg.z_size, key=k_policy)
        shape = (cfg.num_train_tasks, cfg.z_size)
        laws = jax.vmap(LatentLaw)(jr.normal(k_laws, shape), jnp.zeros(shape))
        theta = Theta(net, laws, cfg.sizes.init(standard))
        tasks = benchmark.train(k_tasks, cfg.num_train_tasks)
        return State(theta, outer.init(theta), tasks, jnp.int32(0))

    def update(state, key):
        k_tasks, k_rounds = jr.split(key)
        index = jr.choice(k_tasks, cfg.num_train_tasks, (cfg.meta_batch,), replace=False)
        tasks, phi = take((state.tasks, jax.vmap(held)(state.theta.laws)), index)
        rounds = rounds_of(agent, benchmark, cfg, state.theta, phi, tasks, k_rounds)
        theta, learned, metrics = outer.improve(state.theta, state.outer, (rounds, index))
        met = lambda old, new: old.at[index].set(new[index])       # momentum moves no other task's
        theta = theta._replace(laws=jax.tree.map(met, state.theta.laws, theta.laws))
        updates, returns = state.updates + 1, round_returns(rounds)
        metrics |= {"pre": returns[0], "post": returns[-1], "grad_steps": updates * outer.steps,
                    "env_steps": updates * rounds.reward.size,
                    "scale": jnp.exp(theta.laws.log_scale).mean()}
        return State(theta, learned, state.tasks, updates), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
