"""PEARL with VariBAD's posterior: act on a draw of a belief that was trained to explain the trial.

    phi = (q_t, z):   q_t = q(z | c_1, ..., c_t) = N(mu(h_t), sigma^2(h_t))
    encoder, decoder: min E_T [ - sum_{t=0}^T E_{z ~ q_t} log p(r_1, ..., r_T | s_0, a_0, ..., z)
                                + c_KL sum_{t=0}^T KL(q_t || q_{t-1}) ],   q_{-1} = N(0, I)
    critic, policy:   soft actor-critic given sg z,  z ~ q_t after a trial's first K episodes

PEARL (https://arxiv.org/abs/1903.08254): replay per task, contexts of a trial's first episodes, z
held for an episode. VariBAD (https://arxiv.org/abs/1910.08348): the recurrent posterior and its
ELBO, which take the place of PEARL's product and of the critic that trains it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks.collection import OffPolicyConfig, TaskData, off_policy
from metablocks.dists import standard_normal
from metablocks.encoders import RecurrentEncoder, context_row
from metablocks.envs.catalogue import sizes
from metablocks.envs.point_goal import dense_square
from metablocks.exploration import posterior_sampling
from metablocks.losses import discounts, kl_chain, reconstruction_loss, sac_losses
from metablocks.nets import DECODERS, SoftActorCritic, TwinCritic
from metablocks.trees import descend, mean_and_sum, polyak, take
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OffPolicyConfig):
    num_train_tasks: int = 80
    tasks_per_update: int = 10
    trial_episodes: int = 3
    prior_episodes: int = 1
    context: str = "first"
    capacity: int = 6000
    num_updates: int = 60
    grad_steps: int = 100
    meta_batch: int = 16
    batch: int = 32
    z_size: int = 5
    memory: int = 64
    width: int = 64
    lr: float = 1e-3
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
    data: TaskData


# fmt: off
def elbo_losses(cfg, theta, trial, key):
    """One trial [T]: its beliefs q_0, ..., q_T, and what they cost."""
    q = theta.encoder.unroll(jax.vmap(context_row)(trial))
    unexplained = reconstruction_loss(
        q, lambda z: jax.vmap(theta.decoder.loss, (0, None))(trial, z).sum(),
        terms=cfg.elbo_terms, key=key)
    kl = cfg.kl_coef * kl_chain(q, standard_normal(cfg.z_size)).sum()
    return q, {"reconstruction": unexplained, "kl": kl}


def task_losses(cfg, theta, target, rows, trial, shown, key):
    """One task: transitions [N], its latest trial [T], and which first steps of that make z."""
    k_elbo, k_z, k_sac = jr.split(key, 3)
    q, explained = elbo_losses(cfg, theta, trial, k_elbo)
    z = jax.lax.stop_gradient(take(q, shown.sum()).sample(k_z))
    learned = jax.vmap(lambda row, key: sac_losses(
        theta.sac, target, z, row.timestep.obs, row.action, row.reward,
        discounts(row.terminated, gamma=cfg.gamma), row.next_obs, key=key)
    )(rows, jr.split(k_sac, len(rows.reward)))
    return explained | jax.tree.map(jnp.mean, learned)


def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = dense_square()
    obs_size, action_size = sizes(benchmark)
    optimiser = optax.adam(optax.cosine_decay_schedule(
        cfg.lr, cfg.num_updates * cfg.grad_steps, 0.1))

    def sampling(choose):
        return posterior_sampling(
            lambda theta: theta.encoder, context_row,
            lambda theta, z, now, key: (choose(theta.sac.policy(now.obs, z), key), {}),
            prior_rounds=cfg.prior_episodes)

    data = off_policy(sampling(lambda pi, key: pi.sample(key)), benchmark, cfg)

    def meta_loss(theta, target, *task_data):
        return mean_and_sum(jax.vmap(
            lambda *one: task_losses(cfg, theta, target, *one))(*task_data))

    def init(key):
        k_encoder, k_decoder, k_sac, k_data = jr.split(key, 4)
        hidden = (cfg.width,) * 2
        theta = Theta(
            RecurrentEncoder(obs_size + action_size + 1, cfg.z_size, hidden=(cfg.memory,) * 2,
                             learned_prior=True, key=k_encoder),
            DECODERS["reward"](obs_size, action_size, z_size=cfg.z_size, hidden=hidden,
                               key=k_decoder),
            SoftActorCritic(obs_size, action_size, z_size=cfg.z_size, hidden=hidden,
                            alpha=cfg.alpha, key=k_sac))
        return State(theta, theta.sac.critic, optimiser.init(theta), data.init(theta, k_data))

    def update(state, key):
        k_collect, k_learn = jr.split(key)
        seen = data.collect(state.theta, state.data, k_collect)

        def gradient_step(learned, key):
            theta, target, opt_state = learned
            k_tasks, k_rows, k_context, k_loss = jr.split(key, 4)
            tasks = jr.randint(k_tasks, (cfg.meta_batch,), 0, cfg.num_train_tasks)
            rows = data.batch(seen, tasks, cfg.batch, k_rows)
            grads, losses = jax.grad(meta_loss, has_aux=True)(
                theta, target, rows, *data.context(seen, tasks, k_context),
                jr.split(k_loss, cfg.meta_batch))
            theta, opt_state = descend(optimiser, theta, opt_state, grads)
            return (theta, polyak(target, theta.sac.critic, tau=cfg.tau), opt_state), losses

        learned, losses = jax.lax.scan(gradient_step, state[:3], jr.split(k_learn, cfg.grad_steps))
        metrics = {name: loss.mean() for name, loss in losses.items()}
        metrics["env_steps"] = seen.everything.added.sum()
        return State(*learned, seen), metrics

    return Learner(init, update), sampling(lambda pi, key: pi.mode()), benchmark
