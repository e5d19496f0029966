"""VariBAD: a policy that acts on its belief about the task, and so explores for what it is worth.

Zintgraf, Shiarlis, Igl, Schulze, Gal, Hofmann, Whiteson 2020, https://arxiv.org/abs/1910.08348.

    phi = q_t:   q_t = q(m | a_0, s_1, r_1, ..., a_{t-1}, s_t, r_t),    h_t = GRU(h_{t-1}, ...)
    policy:      a_t ~ pi(. | s_t, mu_t, log sigma_t^2),    trained by PPO over the trial
    encoder, decoder:   max E_T E_trial sum_{t=0}^{T} ELBO_t,
        ELBO_t = E_{m ~ q_t} [ log p(r_1, ..., r_T | s_0, a_0, ..., s_T, m) ]
                     - c_KL KL(q_t || q_{t-1}),    q_{-1} = N(0, I)                         (8, 9)

Every belief is asked for the *whole* trial, past and future. The policy's gradient does not reach
the encoder (`--policy-trains-encoder` lets it).
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks import replay
from metablocks.collection import OnPolicyConfig, new_trials
from metablocks.dists import DiagNormal, standard_normal
from metablocks.encoders import RecurrentEncoder
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.exploration import belief_agent
from metablocks.losses import (
    generalised_advantages,
    kl_chain,
    ppo_clip_loss,
    reconstruction_losses,
    standardised,
    value_loss,
)
from metablocks.nets import (
    ActorCritic,
    CountingRewardDecoder,
    RewardDecoder,
    TransitionDecoder,
    action_vector,
)
from metablocks.trees import descend, minibatches, take
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, OnPolicyConfig):
    """The numbers of a preset."""

    benchmark: Literal[
        "bandit", "gridworld", "sparse-point-robot", "cheetah-dir", "cheetah-vel", "pendulum",
        "cartpole",
    ]  # fmt: skip
    """The tasks, p(T)."""
    width: int = 128
    """Width of the policy's and the value's layers."""
    depth: int = 1
    """Layers of the policy and the value."""
    z_size: int = 5
    """Dimensions of m."""
    memory: int = 64
    """Units of the encoder's GRU."""
    decodes: Literal["cells", "arms", "reward", "transition"] = "reward"
    """What is predicted: which cells pay; which arms pay; the reward; it and the next state."""
    decoder_width: int = 64
    """Width of the decoder's two layers."""
    kl_coef: float = 0.1
    """Weight c_KL of the KL terms."""
    vae_lr: float = 1e-2
    """Adam's step size for encoder and decoder."""
    vae_steps: int = 6
    """Gradient steps of encoder and decoder in an update."""
    vae_batch: int = 32
    """Trials of each."""
    vae_warmup: int = 1200
    """Such steps before the first update, on trials of the untrained policy."""
    vae_capacity: int = 2048
    """Latest trials that they are drawn from."""
    elbo_terms: int = 0
    """Beliefs t that a step decodes from, drawn at random; 0 for every one."""
    policy_trains_encoder: bool = False
    """Whether the policy's gradient reaches the encoder."""


class Theta(NamedTuple):
    encoder: RecurrentEncoder
    decoder: Any
    policy: ActorCritic


class State(NamedTuple):
    theta: Theta
    opt_state: Any
    vae_opt_state: Any
    trials: replay.Replay


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, num_actions, discrete = catalogue.interface(benchmark)
    num_steps = cfg.trial_episodes * benchmark.horizon
    steps_per_update = cfg.epochs * cfg.minibatches
    def annealed(value, steps): return optax.linear_schedule(value, value * cfg.lr_end, steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(cfg.max_grad_norm),
        optax.adam(annealed(cfg.lr, cfg.num_updates * steps_per_update)))
    vae_steps = cfg.vae_warmup + cfg.num_updates * cfg.vae_steps
    vae_optimiser = optax.adam(annealed(cfg.vae_lr, vae_steps))
    entropy_coef = optax.linear_schedule(
        cfg.entropy_coef, cfg.entropy_coef * cfg.entropy_end, cfg.num_updates)

    # -- agent: acts on its belief
    as_vector = partial(action_vector, num_actions=num_actions, discrete=discrete)

    def row(action, next_obs, reward):
        return jnp.concatenate([as_vector(action), next_obs, reward[None]])

    def seen(q, obs):
        return jnp.concatenate([obs, q.mean, 2 * jnp.log(q.scale)])

    def acting(choose):
        def act(theta, q, timestep, key):
            pi, value = theta.policy(seen(q, timestep.obs))
            action = choose(pi, key)
            recorded = {"log_prob": pi.log_prob(action), "value": value}
            return action, recorded | {"mean": q.mean, "scale": q.scale}

        return belief_agent(lambda theta: theta.encoder, row, act)

    collector = acting(lambda pi, key: pi.sample(key))
    agent = collector if cfg.eval_mode == "stochastic" else acting(lambda pi, key: pi.mode())

    # -- objective of encoder and decoder: one trial [T]
    def beliefs(encoder, trial):
        return encoder.unroll(jax.vmap(row)(trial.action, trial.next_obs, trial.reward))

    def decoder_loss(decoder, trial, z):
        actions = jax.vmap(as_vector)(trial.action)
        if cfg.decodes in ("cells", "arms"):
            places = trial.next_obs if cfg.decodes == "cells" else actions
            return decoder.trajectory_loss(places, trial.reward, z)
        rows = eqx.tree_at(lambda trial: trial.action, trial, actions)
        return jax.vmap(decoder.loss, (0, None))(rows, z).sum()

    def elbo_losses(theta, trial, key):
        k_terms, k_z = jr.split(key)
        q = beliefs(theta.encoder, trial)
        kl = kl_chain(q, standard_normal(cfg.z_size))
        if cfg.elbo_terms:
            q = take(q, jr.choice(k_terms, num_steps + 1, (cfg.elbo_terms,), replace=False))
        decoded = reconstruction_losses(q, partial(decoder_loss, theta.decoder, trial), key=k_z)
        return {"reconstruction": (num_steps + 1) * decoded.mean(), "kl": cfg.kl_coef * kl.sum()}

    def vae_loss(theta, trials, keys):
        losses = jax.vmap(elbo_losses, (None, 0, 0))(theta, trials, keys)
        losses = jax.tree.map(jnp.mean, losses)
        return sum(losses.values()), losses

    # -- objective of the policy: one trial [T]
    def advantages(trial):
        discount = jnp.full(num_steps, cfg.gamma)             # never cut: the return of the trial
        return generalised_advantages(
            cfg.reward_scale * trial.reward, discount, trial.extras["value"],
            lam=cfg.lam, bootstrap=jnp.zeros(()))

    def trial_losses(theta, trial, advantage, target, c_entropy):
        q = DiagNormal(trial.extras["mean"], trial.extras["scale"])
        if cfg.policy_trains_encoder:
            q = take(beliefs(theta.encoder, trial), jnp.arange(num_steps))
        pi, value = jax.vmap(theta.policy)(jax.vmap(seen)(q, trial.timestep.obs))
        log_prob = jax.vmap(lambda pi, a: pi.log_prob(a))(pi, trial.action)
        behaviour = trial.extras["log_prob"]
        return {
            "policy": ppo_clip_loss(log_prob, behaviour, advantage, epsilon=cfg.epsilon).mean(),
            "value": cfg.value_coef * value_loss(value, target).mean(),
            "entropy": -c_entropy * jax.vmap(lambda pi: pi.entropy())(pi).mean()}

    def meta_loss(theta, *trials_and_c):
        over_tasks = jax.vmap(trial_losses, in_axes=(None, 0, 0, 0, None))
        losses = jax.tree.map(jnp.mean, over_tasks(theta, *trials_and_c))
        return sum(losses.values()), losses

    # -- learner
    def collected(theta, kept, key):
        trials = new_trials(
            collector, benchmark, theta,
            num=cfg.meta_batch, episodes=cfg.trial_episodes, key=key)
        lean = eqx.tree_at(lambda trials: trials.extras, trials, {})
        if kept is None:
            one = jax.tree.map(lambda leaf: leaf[0], lean)
            kept = replay.init(one, num_tasks=1, capacity=cfg.vae_capacity)
        rows = jax.tree.map(lambda leaf: leaf[None], lean)
        return trials, replay.add(kept, jnp.zeros(1, jnp.int32), rows)

    def vae_updates(theta, opt_state, kept, num, key):
        def step(learned, key):
            theta, opt_state = learned
            k_trials, k_elbo = jr.split(key)
            trials = replay.sample(kept, jnp.int32(0), num=cfg.vae_batch, key=k_trials)
            grads, losses = jax.grad(vae_loss, has_aux=True)(
                theta, trials, jr.split(k_elbo, cfg.vae_batch))
            return descend(vae_optimiser, theta, opt_state, grads), losses

        return jax.lax.scan(step, (theta, opt_state), jr.split(key, num))

    def init(key):
        k_encoder, k_decoder, k_policy, k_trials, k_vae = jr.split(key, 5)
        c_size = (num_actions + obs_size + 1)
        sizes = {"z_size": cfg.z_size, "hidden": (cfg.decoder_width,) * 2, "key": k_decoder}
        decoder = {
            "cells": lambda: CountingRewardDecoder(obs_size, **sizes),
            "arms": lambda: CountingRewardDecoder(num_actions, **sizes),
            "reward": lambda: RewardDecoder(obs_size, num_actions, **sizes),
            "transition": lambda: TransitionDecoder(obs_size, num_actions, **sizes),
        }[cfg.decodes]()
        encoder = RecurrentEncoder(
            c_size, cfg.z_size, hidden=(cfg.memory,), learned_prior=True, key=k_encoder)
        policy = ActorCritic(
            obs_size + 2 * cfg.z_size, num_actions, discrete=discrete,
            hidden=(cfg.width,) * cfg.depth, key=k_policy)
        theta = Theta(encoder, decoder, policy)
        _, kept = collected(theta, None, k_trials)
        (theta, vae_opt_state), _ = vae_updates(
            theta, vae_optimiser.init(theta), kept, cfg.vae_warmup, k_vae)
        return State(theta, optimiser.init(theta), vae_opt_state, kept)

    def update(state, key):
        k_collect, k_learn, k_vae = jr.split(key, 3)
        trials, kept = collected(state.theta, state.trials, k_collect)
        advantage = jax.vmap(advantages)(trials)
        target, advantage = advantage + trials.extras["value"], standardised(advantage)
        updates = state.opt_state[1][0].count // steps_per_update

        def gradient_step(learned, rows):
            theta, opt_state = learned
            grads, losses = jax.grad(meta_loss, has_aux=True)(
                theta, *take((trials, advantage, target), rows), entropy_coef(updates))
            return descend(optimiser, theta, opt_state, grads), losses

        batches = minibatches(
            cfg.meta_batch, epochs=cfg.epochs, num=cfg.minibatches, key=k_learn)
        (theta, opt_state), losses = jax.lax.scan(gradient_step, state[:2], batches)
        (theta, vae_opt_state), vae_losses = vae_updates(
            theta, state.vae_opt_state, kept, cfg.vae_steps, k_vae)
        metrics = {name: loss.mean() for name, loss in (losses | vae_losses).items()}
        metrics["return"] = trials.reward.sum(axis=1).mean()
        metrics["env_steps"] = kept.added.sum() * num_steps
        metrics["grad_steps"] = opt_state[1][0].count + vae_opt_state[0].count
        return State(theta, opt_state, vae_opt_state, kept), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
