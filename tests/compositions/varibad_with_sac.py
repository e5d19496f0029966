"""VariBAD off policy: soft actor-critic on beliefs, computed anew from the trials that are kept.

    phi = q_t:   q_t = q(m | c_1, ..., c_t),  c_t = (a_{t-1}, s_t, r_{t-1})
    policy:      a_t ~ pi(. | s_t, b_t),   b_t = sg (mu_t, log sigma_t^2)
    critic:      min E_trial sum_t 1/2 (Q(s_t, b_t, a_t) - sg[r_t + gamma V(s_{t+1}, b_{t+1})])^2
    encoder, decoder:   max E_trial sum_t ELBO_t

VariBAD (https://arxiv.org/abs/1910.08348) with the off-policy losses in PPO's place: a state of the
Bayes-adaptive MDP is (s, b), and b is what *today's* encoder makes of an old trial.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks.collection import OnPolicyConfig, draw_trials, keep_trials, new_trials
from metablocks.dists import standard_normal
from metablocks.encoders import RecurrentEncoder
from metablocks.envs.catalogue import sizes
from metablocks.envs.point_goal import dense_square
from metablocks.exploration import belief_agent
from metablocks.losses import discounts, kl_chain, reconstruction_loss, sac_losses
from metablocks.nets import DECODERS, SoftActorCritic, TwinCritic
from metablocks.replay import Replay
from metablocks.trees import descend, mean_and_sum, polyak
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OnPolicyConfig):
    meta_batch: int = 16
    minibatches: int = 1
    trial_episodes: int = 3
    capacity: int = 2000
    num_updates: int = 60
    grad_steps: int = 100
    batch: int = 16
    z_size: int = 5
    memory: int = 64
    width: int = 64
    lr: float = 2e-3
    gamma: float = 0.9
    tau: float = 0.02
    alpha: float = 0.02
    kl_coef: float = 0.01
    elbo_terms: int = 15


class Theta(NamedTuple):
    encoder: RecurrentEncoder
    decoder: Any
    sac: SoftActorCritic


class State(NamedTuple):
    theta: Theta
    target: TwinCritic
    opt_state: Any
    kept: Replay


def context(action, next_obs, reward):
    return jnp.concatenate([action, next_obs, reward[None]])


def features(obs, q):
    """What the policy sees: (s, mu, log sigma^2)."""
    return jnp.concatenate([obs, q.mean, 2 * jnp.log(q.scale)])


# fmt: off
def trial_losses(cfg, theta, target, trial, key):
    """One trial [T] under its beliefs q_0, ..., q_T."""
    k_elbo, k_sac = jr.split(key)
    steps = trial.action, trial.next_obs, trial.reward
    q = theta.encoder.unroll(jax.vmap(context)(*steps), trial.extras["live"])
    unexplained = reconstruction_loss(
        q, lambda m: jax.vmap(theta.decoder.loss, (0, None))(trial, m).sum(),
        terms=cfg.elbo_terms, key=k_elbo)
    # the trial goes on through its episodes' ends: what follows an episode's last step is a reset
    obs = jnp.concatenate([trial.timestep.obs, trial.next_obs[-1:]])
    x = jax.lax.stop_gradient(jax.vmap(features)(obs, q))
    learned = jax.vmap(lambda x_tm1, row, x_t, key: sac_losses(
        theta.sac, target, jnp.zeros(0), x_tm1, row.action, row.reward,
        discounts(row.terminated, gamma=cfg.gamma), x_t, key=key)
    )(x[:-1], trial, x[1:], jr.split(k_sac, len(trial.reward)))
    return {"reconstruction": unexplained,
            "kl": cfg.kl_coef * kl_chain(q, standard_normal(cfg.z_size)).sum(),
            } | jax.tree.map(jnp.mean, learned)


def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = dense_square()
    obs_size, action_size = sizes(benchmark)
    num_steps = cfg.trial_episodes * benchmark.horizon
    optimiser = optax.adam(optax.cosine_decay_schedule(
        cfg.lr, cfg.num_updates * cfg.grad_steps, 0.1))

    def acting(choose):
        def act(theta, q, now, key):
            return choose(theta.sac.policy(features(now.obs, q), jnp.zeros(0)), key), {}

        return belief_agent(lambda theta: theta.encoder, context, act)

    collector = acting(lambda pi, key: pi.sample(key))

    def meta_loss(theta, target, trials, keys):
        return mean_and_sum(jax.vmap(
            lambda trial, key: trial_losses(cfg, theta, target, trial, key))(trials, keys))

    def init(key):
        k_encoder, k_decoder, k_sac, k_trials = jr.split(key, 4)
        hidden = (cfg.width,) * 2
        theta = Theta(
            RecurrentEncoder(action_size + obs_size + 1, cfg.z_size, hidden=(cfg.memory,) * 2,
                             learned_prior=True, key=k_encoder),
            DECODERS["reward"](obs_size, action_size, z_size=cfg.z_size, hidden=hidden,
                               key=k_decoder),
            SoftActorCritic(obs_size + 2 * cfg.z_size, action_size, hidden=hidden,
                            alpha=cfg.alpha, key=k_sac))
        trials = new_trials(collector, benchmark, cfg, theta, k_trials)
        kept = keep_trials(None, trials, capacity=cfg.capacity)
        return State(theta, theta.sac.critic, optimiser.init(theta), kept)

    def update(state, key):
        k_collect, k_learn = jr.split(key)
        trials = new_trials(collector, benchmark, cfg, state.theta, k_collect)
        kept = keep_trials(state.kept, trials, capacity=cfg.capacity)

        def gradient_step(learned, key):
            theta, target, opt_state = learned
            k_trials, k_loss = jr.split(key)
            drawn = draw_trials(kept, num=cfg.batch, key=k_trials)
            grads, losses = jax.grad(meta_loss, has_aux=True)(
                theta, target, drawn, jr.split(k_loss, cfg.batch))
            theta, opt_state = descend(optimiser, theta, opt_state, grads)
            return (theta, polyak(target, theta.sac.critic, tau=cfg.tau), opt_state), losses

        learned, losses = jax.lax.scan(gradient_step, state[:3], jr.split(k_learn, cfg.grad_steps))
        metrics = {name: loss.mean() for name, loss in losses.items()}
        metrics["env_steps"] = kept.added.sum() * num_steps
        return State(*learned, kept), metrics

    return Learner(init, update), acting(lambda pi, key: pi.mode()), benchmark
