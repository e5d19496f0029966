"""PEARL: off-policy meta-RL that infers a latent task variable and explores by sampling it.

Rakelly, Zhou, Quillen, Finn, Levine 2019, https://arxiv.org/abs/1903.08254.

    phi = (q, z):   q(z | c) ~ N(z; 0, I) prod_n N(z; mu(c_n), sigma^2(c_n)),   z ~ q            (2)

    encoder, Q:  min E_T E_{z ~ q(z|c)} [ 1/2 (Q(s, a, z) - sg[r + gamma V(s', z)])^2 ]
                     + beta E_T KL( q(z|c) || N(0, I) )                                       (1, 3)
    policy:      min E_T E_{z ~ q(z|c)} [ alpha log pi(a | s, sg z) - Q(s, a, sg z) ]            (4)

The context c comes from recent data, the batch (s, a, r, s') from all data. The encoder learns from
the critic and the KL only. Published: twin Q and V with alpha = 1, a small penalty on the policy's
outputs, no prior in the product (2); here twin Q with slow copies and no V, and one gradient step
on the sum of all losses. The KL is averaged over tasks; theirs is summed, beside squared errors
without the 1/2: beta here is their kl_lambda times meta_batch / 2.
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks.collection import OffPolicyConfig, TaskData, off_policy
from metablocks.dists import standard_normal
from metablocks.encoders import ProductEncoder, RecurrentEncoder, context_row
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.exploration import posterior_sampling
from metablocks.losses import bottleneck_loss, discounts, sac_losses
from metablocks.nets import SoftActorCritic, TransitionDecoder, TwinCritic
from metablocks.trees import descend, mean_and_sum, polyak
from metablocks.types import Agent, Benchmark, Learner

ENCODERS = {"product": ProductEncoder, "recurrent": RecurrentEncoder}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, OffPolicyConfig):
    """The numbers of a preset; the defaults are PEARL's published ones for half-cheetah, but for
    the capacity, the initial data and the contexts, of which theirs hold prior episodes only."""

    benchmark: Literal["sparse-point-robot", "point-robot", "cheetah-vel", "cheetah-dir"]
    """The tasks, p(T)."""
    eval_mode: Literal["deterministic", "stochastic"] = "deterministic"
    """Whether the evaluated policy acts by its mode or by a sample."""
    grad_steps: int = 2000
    """Gradient steps of an update."""
    meta_batch: int = 16
    """Tasks of a gradient step."""
    batch: int = 256
    """Transitions of each task in a gradient step."""
    context_next_obs: bool = False
    """Whether the encoder sees s' too."""
    encoder: Literal["product", "recurrent"] = "product"
    """A product of Gaussian factors, or a GRU over the context."""
    encoder_learns: Literal["critic", "reconstruction"] = "critic"
    """What the encoder learns from: the critic's loss, or predicting rewards and next states."""
    bottleneck: bool = True
    """Off: z is the posterior's mean, prior included, and there is no KL."""
    kl_coef: float = 0.8
    """Weight beta of the KL in nats."""
    z_size: int = 5
    """Dimensions of z."""
    encoder_width: int = 200
    """Width of the encoder's layers."""
    encoder_depth: int = 3
    """Layers of the encoder."""
    width: int = 300
    """Width of the policy's and the critics' layers."""
    depth: int = 3
    """Layers of the policy and the critics."""
    lr: float = 3e-4
    """Adam's step size."""
    lr_end: float = 1.0
    """Share of it that a cosine schedule leaves at the end."""
    gamma: float = 0.99
    """Discount."""
    tau: float = 0.005
    """Rate of the slow copies."""
    alpha: float = 1.0
    """Temperature; its first value where it is automatic."""
    temperature: Literal["fixed", "automatic"] = "fixed"
    """Automatic: alpha follows a target entropy of -dim(a)."""
    reward_scale: float = 5.0
    """Factor on the rewards that the critic learns."""
    train_reward: Literal["given", "dense"] = "given"
    """Dense: the critic learns from the dense reward, the context keeps the sparse one."""

    only: ClassVar = {"kl_coef": ("bottleneck", True)}


class Theta(NamedTuple):
    encoder: Any
    sac: SoftActorCritic
    decoder: TransitionDecoder | None


class State(NamedTuple):
    theta: Theta
    target: TwinCritic
    opt_state: Any
    data: TaskData


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.train_reward == "dense" and cfg.benchmark.startswith("cheetah"):
        raise ValueError(f"train_reward is dense, but {cfg.benchmark} has but one: leave it out")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, action_size = catalogue.sizes(benchmark)
    schedule = optax.cosine_decay_schedule(cfg.lr, cfg.num_updates * cfg.grad_steps, cfg.lr_end)
    optimiser = optax.adam(schedule)

    # -- agent: z ~ q(z | c), held for an episode
    context_of = partial(context_row, next_obs=cfg.context_next_obs)

    def sampling(choose):
        return posterior_sampling(
            lambda theta: theta.encoder, context_of,
            lambda theta, z, now, key: (choose(theta.sac.policy(now.obs, z), key), {}),
            prior_rounds=cfg.prior_episodes, deterministic=not cfg.bottleneck)

    collector = sampling(lambda pi, key: pi.sample(key))
    agent = collector if cfg.eval_mode == "stochastic" else sampling(lambda pi, key: pi.mode())
    data = off_policy(collector, benchmark, cfg)

    # -- objective: one task, then the mean over tasks
    def task_losses(theta, target, rows, context, mask, key):
        k_z, k_sac = jr.split(key)
        c = jax.vmap(context_of)(context)
        q = theta.encoder.posterior(theta.encoder.update(theta.encoder.init(), c, mask))
        z = q.sample(k_z) if cfg.bottleneck else q.mode()
        z_critic = z if cfg.encoder_learns == "critic" else jax.lax.stop_gradient(z)

        def losses_of(row, key):
            reward = row.extras["dense_reward"] if cfg.train_reward == "dense" else row.reward
            losses = sac_losses(
                theta.sac, target, z_critic, row.timestep.obs, row.action,
                cfg.reward_scale * reward, discounts(row.terminated, gamma=cfg.gamma),
                row.next_obs, automatic=cfg.temperature == "automatic", key=key)
            return losses | ({"decoder": theta.decoder.loss(row, z)} if theta.decoder else {})

        losses = jax.tree.map(jnp.mean, jax.vmap(losses_of)(rows, jr.split(k_sac, cfg.batch)))
        kl = bottleneck_loss(q.kl(standard_normal(cfg.z_size)))
        return losses | ({"bottleneck": cfg.kl_coef * kl} if cfg.bottleneck else {})

    def meta_loss(theta, target, *task_data):
        over_tasks = jax.vmap(task_losses, in_axes=(None, None, 0, 0, 0, 0))
        return mean_and_sum(over_tasks(theta, target, *task_data))

    # -- learner
    def init(key):
        k_encoder, k_sac, k_decoder, k_data = jr.split(key, 4)
        sizes = {"z_size": cfg.z_size, "hidden": (cfg.width,) * cfg.depth}
        c_size = obs_size + action_size + 1 + obs_size * cfg.context_next_obs
        hidden = (cfg.encoder_width,) * cfg.encoder_depth
        decoder = TransitionDecoder(obs_size, action_size, **sizes, key=k_decoder)
        theta = Theta(
            ENCODERS[cfg.encoder](c_size, cfg.z_size, hidden=hidden, key=k_encoder),
            SoftActorCritic(obs_size, action_size, **sizes, alpha=cfg.alpha, key=k_sac),
            decoder if cfg.encoder_learns == "reconstruction" else None)
        return State(theta, theta.sac.critic, optimiser.init(theta), data.init(theta, k_data))

    def update(state, key):
        k_collect, k_learn = jr.split(key)
        seen = data.collect(state.theta, state.data, k_collect)

        def gradient_step(learned, key):
            theta, target, opt_state = learned
            k_tasks, k_rows, k_context, k_loss = jr.split(key, 4)
            tasks = jr.randint(k_tasks, (cfg.meta_batch,), 0, cfg.num_train_tasks)
            rows = data.batch(seen, tasks, cfg.batch, k_rows)
            keys = jr.split(k_loss, cfg.meta_batch)
            grads, losses = jax.grad(meta_loss, has_aux=True)(
                theta, target, rows, *data.context(seen, tasks, k_context), keys)
            theta, opt_state = descend(optimiser, theta, opt_state, grads)
            return (theta, polyak(target, theta.sac.critic, tau=cfg.tau), opt_state), losses

        learned, losses = jax.lax.scan(gradient_step, state[:3], jr.split(k_learn, cfg.grad_steps))
        metrics = {name: loss.mean() for name, loss in losses.items()}
        metrics["env_steps"] = seen.everything.added.sum()
        metrics["grad_steps"] = learned[2][0].count
        return State(*learned, seen), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
