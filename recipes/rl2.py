"""RL2: a recurrent policy learns to explore and to adapt, by reinforcement over whole trials.

Duan, Schulman, Chen, Bartlett, Sutskever, Abbeel 2016, https://arxiv.org/abs/1611.02779.
E-RL2: Stadie et al. 2018, https://arxiv.org/abs/1803.01118.

    phi = h:     h_t = GRU(h_{t-1}, (s_t, a_{t-1}, r_{t-1}, first_t)),    a_t ~ pi_theta(. | h_t)
    objective:   max E_T E_trial [ sum_t gamma^t r_t ],    t from the trial's first to its last step
    by PPO:      min E_T E_t [ -min(rho_t A_t, clip(rho_t, 1 +- epsilon) A_t)
                               + c_V 1/2 (V(h_t) - G_t)^2 - c_H H(pi(. | h_t)) ]
    E-RL2:       r_t = 0 in A and G for the first p episodes; what they saw stays in h

The memory is reset between tasks only, and the discount is never cut inside a trial: what is found
out in one episode earns the reward of the next. That is all there is to exploring.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks.collection import OnPolicyConfig, new_trials
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.losses import generalised_advantages, ppo_clip_loss, standardised, value_loss
from metablocks.nets import RecurrentActorCritic
from metablocks.trees import descend, minibatches, take
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, OnPolicyConfig):
    """The numbers of a preset."""

    benchmark: Literal[
        "bandit", "bandit-100", "tabular-mdp", "gridworld", "maze", "sparse-point-robot",
        "cheetah-dir", "cheetah-vel", "pendulum", "cartpole",
    ]  # fmt: skip
    """The tasks, p(T)."""
    explore_episodes: int = 0
    """E-RL2: first episodes of a trial whose rewards earn no credit."""
    width: int = 64
    """Units of the memory h."""


class State(NamedTuple):
    theta: RecurrentActorCritic
    opt_state: Any


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, num_actions, discrete = catalogue.interface(benchmark)
    num_steps = cfg.trial_episodes * benchmark.horizon
    grad_steps = cfg.num_updates * cfg.epochs * cfg.minibatches
    schedule = optax.linear_schedule(cfg.lr, cfg.lr * cfg.lr_end, grad_steps)
    optimiser = optax.chain(optax.clip_by_global_norm(cfg.max_grad_norm), optax.adam(schedule))
    entropy_coef = optax.linear_schedule(
        cfg.entropy_coef, cfg.entropy_coef * cfg.entropy_end, cfg.num_updates)

    # -- agent: the memory is what adapts
    def acting(choose):
        def act(theta, h, timestep, key):
            h, (pi, value) = theta.step(h, timestep)
            action = choose(pi, key)
            return action, {"log_prob": pi.log_prob(action), "value": value}, h

        return Agent(lambda theta, key: theta.init(), act, lambda theta, h, trajectories, key: h)

    collector = acting(lambda pi, key: pi.sample(key))
    agent = collector if cfg.eval_mode == "stochastic" else acting(lambda pi, key: pi.mode())

    # -- objective: one trial [T]
    def advantages(trial):
        credited = jnp.arange(num_steps) >= cfg.explore_episodes * benchmark.horizon
        reward = cfg.reward_scale * trial.reward * credited
        discount = jnp.full(num_steps, cfg.gamma)             # never cut: the return of the trial
        return generalised_advantages(
            reward, discount, trial.extras["value"], lam=cfg.lam, bootstrap=jnp.zeros(()))

    def trial_losses(theta, trial, advantage, target, c_entropy):
        _, (pi, value) = theta.unroll(theta.init(), trial.timestep)
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
    def init(key):
        theta = RecurrentActorCritic(
            obs_size, num_actions, discrete=discrete, width=cfg.width, key=key)
        return State(theta, optimiser.init(theta))

    def update(state, key):
        k_collect, k_learn = jr.split(key)
        trials = new_trials(
            collector, benchmark, state.theta,
            num=cfg.meta_batch, episodes=cfg.trial_episodes, key=k_collect)
        advantage = jax.vmap(advantages)(trials)
        target, advantage = advantage + trials.extras["value"], standardised(advantage)
        updates = state.opt_state[1][0].count // (cfg.epochs * cfg.minibatches)
        c_entropy = entropy_coef(updates)

        def gradient_step(learned, rows):
            theta, opt_state = learned
            grads, losses = jax.grad(meta_loss, has_aux=True)(
                theta, *take((trials, advantage, target), rows), c_entropy)
            return descend(optimiser, theta, opt_state, grads), losses

        batches = minibatches(
            cfg.meta_batch, epochs=cfg.epochs, num=cfg.minibatches, key=k_learn)
        (theta, opt_state), losses = jax.lax.scan(gradient_step, tuple(state), batches)
        metrics = {name: loss.mean() for name, loss in losses.items()}
        metrics["return"] = trials.reward.sum(axis=1).mean()
        metrics["env_steps"] = (updates + 1) * cfg.meta_batch * num_steps
        metrics["grad_steps"] = opt_state[1][0].count
        return State(theta, opt_state), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
