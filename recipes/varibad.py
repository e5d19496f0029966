"""VariBAD: a policy that acts on its belief about the task, and so explores for what it is worth.

Zintgraf, Shiarlis, Igl, Schulze, Gal, Hofmann, Whiteson 2020, https://arxiv.org/abs/1910.08348.

    phi = q_t:   q_t = q(m | a_0, s_1, r_1, ..., a_{t-1}, s_t, r_t),    h_t = GRU(h_{t-1}, ...)
    policy:      a_t ~ pi(. | s_t, mu_t, log sigma_t^2),    trained by PPO over the trial
    encoder, decoder:   max E_T E_trial sum_{t=0}^{T} ELBO_t,
        ELBO_t = E_{m ~ q_t} [ log p(r_1, ..., r_T | s_0, a_0, ..., s_T, m) ]
                     - c_KL KL(q_t || q_{t-1}),    q_{-1} = N(0, I)

Every belief is asked for the *whole* trial, past and future. The policy's gradient does not reach
the encoder (`--policy-trains-encoder` lets it). r_t is what came with s_t: of a transition,
(a, r, s') are a_{t-1}, r_t, s_t; a is what the policy chose, before the world clips it.

Unlike the released code: no done flag beside the state, as episodes end at a known time (but in
cartpole); no input embeddings; states, beliefs and rewards are not normalised by running
statistics; encoder and decoder have steps before the policy's first; on half-cheetah sigma
starts at e^-1, without a bonus for entropy; the value's loss is a square; the KL's weight is
what it says, beside 1/2 (r - r')^2.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks.collection import OnPolicyConfig, draw_trials, keep_trials, new_trials, trial_return
from metablocks.dists import standard_normal
from metablocks.encoders import RecurrentEncoder
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.exploration import belief_agent
from metablocks.losses import kl_chain, reconstruction_loss
from metablocks.nets import DECODERS, ActorCritic, action_vector
from metablocks.ppo import PPOState, ppo
from metablocks.replay import Replay
from metablocks.trees import gradient_steps, mean_and_sum, take
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, OnPolicyConfig):
    """The numbers of a preset."""

    benchmark: Literal["bandit", "gridworld", "sparse-point-robot", "cheetah-dir", "cheetah-vel",
                       "pendulum", "cartpole"]  # fmt: skip
    """The tasks, p(T)."""
    eval_mode: Literal["deterministic", "stochastic"] = "deterministic"
    """Whether the evaluated policy acts by its mode or by a sample."""
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
    vae_lr: float = 3e-3
    """Adam's step size for encoder and decoder; it falls as the policy's does."""
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
    ppo: PPOState
    vae_opt_state: Any
    kept: Replay


PAYS = ("gridworld", "cells"), ("bandit", "arms"), ("sparse-point-robot", "reward")
"""Decoders that tell what every place of a world pays."""


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    tells = (cfg.benchmark, cfg.decodes) in PAYS
    if cfg.decodes in ("cells", "arms") and not tells:
        raise ValueError(f"decodes is {cfg.decodes}, but {cfg.benchmark} has none: use reward")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, num_actions, discrete = catalogue.interface(benchmark)
    num_steps = cfg.trial_episodes * benchmark.horizon
    vae_adam = optax.adam(optax.linear_schedule(
        cfg.vae_lr, cfg.vae_lr * cfg.lr_end, cfg.vae_warmup + cfg.num_updates * cfg.vae_steps))

    # -- agent: acts on its belief
    as_vector = lambda action: action_vector(action, num_actions, discrete=discrete)

    def context(action, next_obs, reward):
        return jnp.concatenate([as_vector(action), next_obs, reward[None]])

    features = lambda obs, q: jnp.concatenate([obs, q.mean, 2 * jnp.log(q.scale)])
    pays = lambda theta, m: theta.decoder.pays(benchmark.plane.places, m)

    def acting(choose):
        def act(theta, q, timestep, key):
            pi, value = theta.policy(features(timestep.obs, q))
            action = choose(pi, key)
            return action, {"log_prob": pi.log_prob(action), "value": value, "belief": q}

        return belief_agent(lambda theta: theta.encoder, context, act, pays=pays if tells else None)

    collector = acting(lambda pi, key: pi.sample(key))
    agent = collector if cfg.eval_mode == "stochastic" else acting(lambda pi, key: pi.mode())

    # -- objective of encoder and decoder: one trial [T]
    def beliefs(theta, trial):                                                   # q_0, ..., q_T
        steps = trial.action, trial.next_obs, trial.reward
        return theta.encoder.unroll(jax.vmap(context)(*steps), trial.extras["live"])

    def elbo_losses(theta, trial, key):
        q, count = beliefs(theta, trial), jnp.append(True, trial.extras["live"])
        rows = jax.vmap(lambda row: dataclasses.replace(row, action=as_vector(row.action)))(trial)
        unlikely = lambda m: count[1:] @ jax.vmap(theta.decoder.loss, (0, None))(rows, m)
        left = reconstruction_loss(q, unlikely, terms=cfg.elbo_terms or None, where=count, key=key)
        return {"reconstruction": left,
                "kl": cfg.kl_coef * kl_chain(q, standard_normal(cfg.z_size)).sum()}

    def improve_beliefs(theta, opt_state, kept, steps, key):
        def loss(theta, key):
            keys = jr.split(key, cfg.vae_batch + 1)
            trials = draw_trials(kept, num=cfg.vae_batch, key=keys[0])
            return mean_and_sum(jax.vmap(elbo_losses, (None, 0, 0))(theta, trials, keys[1:]))

        return gradient_steps(loss, vae_adam, theta, opt_state, jr.split(key, steps))

    # -- objective of the policy: the return of the trial, given the beliefs
    def heads(theta, trial):
        q = trial.extras["belief"]
        if cfg.policy_trains_encoder:
            q = take(beliefs(theta, trial), jnp.arange(num_steps))
        return jax.vmap(theta.policy)(jax.vmap(features)(trial.timestep.obs, q))

    policy = ppo(cfg, heads, num_updates=cfg.num_updates)

    # -- learner
    def init(key):
        k_encoder, k_decoder, k_policy, k_trials, k_vae = jr.split(key, 5)
        theta = Theta(
            RecurrentEncoder(num_actions + obs_size + 1, cfg.z_size, hidden=(cfg.memory,),
                             learned_prior=True, key=k_encoder),
            DECODERS[cfg.decodes](obs_size, num_actions, z_size=cfg.z_size,
                                  hidden=(cfg.decoder_width,) * 2, key=k_decoder),
            ActorCritic(obs_size + 2 * cfg.z_size, num_actions, discrete=discrete,
                        hidden=(cfg.width,) * cfg.depth, log_scale=cfg.log_scale, key=k_policy))
        trials = new_trials(collector, benchmark, cfg, theta, k_trials)
        kept = keep_trials(None, trials, capacity=cfg.vae_capacity)
        opt_state = vae_adam.init(theta)
        theta, opt_state, _ = improve_beliefs(theta, opt_state, kept, cfg.vae_warmup, k_vae)
        return State(theta, policy.init(theta), opt_state, kept)

    def update(state, key):
        k_collect, k_policy, k_vae = jr.split(key, 3)
        trials = new_trials(collector, benchmark, cfg, state.theta, k_collect)
        kept = keep_trials(state.kept, trials, capacity=cfg.vae_capacity)
        theta, learned, losses = policy.improve(
            state.theta, state.ppo, trials, trials.reward, k_policy)
        theta, opt_state, vae_losses = improve_beliefs(
            theta, state.vae_opt_state, kept, cfg.vae_steps, k_vae)
        steps = {"env_steps": kept.added.sum() * num_steps,
                 "grad_steps": learned.opt_state[1][0].count + opt_state[0].count}
        metrics = losses | vae_losses | steps | {"return": trial_return(trials)}
        return State(theta, learned, opt_state, kept), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
