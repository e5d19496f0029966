"""RL2: a recurrent policy learns to explore and to adapt, by reinforcement over whole trials.

Duan, Schulman, Chen, Bartlett, Sutskever, Abbeel 2016, https://arxiv.org/abs/1611.02779.
E-RL2: Stadie et al. 2018, https://arxiv.org/abs/1803.01118.

    phi = h:     h_t = GRU(h_{t-1}, s_t, a_{t-1}, r_{t-1}, first_t),    a_t ~ pi_theta(. | h_t)
    objective:   max E_T E_trial [ sum_t gamma^t r_t ],    t from the trial's first to its last step
    by PPO:      min E_T E_t [ -min(rho_t A_t, clip(rho_t, 1 +- epsilon) A_t)
                               + c_V 1/2 (V(h_t) - G_t)^2 - c_H H(pi(. | h_t)) ]
    E-RL2:       r_t = 0 in A and G for the first p episodes; what they saw stays in h

The memory is reset between tasks only, and the discount is never cut inside a trial: what is found
out in one episode earns the reward of the next. That is all there is to exploring.

Unlike the paper: PPO, as its successors have it, for a trust region; a bonus for the policy's
entropy (but on half-cheetah, where sigma starts at e^-1); a smaller memory, which the value shares.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.random as jr

from metablocks.collection import OnPolicyConfig, new_trials, trial_return
from metablocks.envs import catalogue
from metablocks.experiment import RunConfig, main, presets
from metablocks.losses import credited_rewards
from metablocks.nets import RecurrentActorCritic
from metablocks.ppo import PPOState, ppo
from metablocks.types import Agent, Benchmark, Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, OnPolicyConfig):
    """The numbers of a preset."""

    benchmark: Literal[
        "bandit", "bandit-100", "tabular-mdp", "gridworld", "maze", "sparse-point-robot",
        "cheetah-dir", "cheetah-vel", "pendulum", "cartpole",
    ]  # fmt: skip
    """The tasks, p(T)."""
    eval_mode: Literal["deterministic", "stochastic"] = "deterministic"
    """Whether the evaluated policy acts by its mode or by a sample."""
    explore_episodes: int = 0
    """E-RL2: first episodes of a trial whose rewards earn no credit."""
    width: int = 64
    """Units of the memory h."""
    embed: int = 0
    """Units of a relu layer before the memory; 0 for none."""
    reader: int = 0
    """Units of a layer between (h_t, s_t) and the heads; 0 for none."""
    transitions: bool = False
    """Whether the memory sees s_{t-1} too."""
    associative: int = 0
    """Size of a memory of transitions by their states, beside h; 0 for none."""


class State(NamedTuple):
    theta: RecurrentActorCritic
    ppo: PPOState


# fmt: off
def make(cfg: Config) -> tuple[Learner, Agent, Benchmark]:
    if cfg.explore_episodes >= cfg.trial_episodes:
        raise ValueError(f"explore_episodes must be below trial_episodes ({cfg.trial_episodes}), "
                         f"got {cfg.explore_episodes}: no reward would be left to learn from")
    benchmark = catalogue.benchmark(cfg.benchmark)
    obs_size, num_actions, discrete = catalogue.interface(benchmark)

    # -- agent: the memory is what adapts
    def acting(choose):
        def act(theta, h, timestep, key):
            h, (pi, value) = theta.step(h, timestep)
            action = choose(pi, key)
            return action, {"log_prob": pi.log_prob(action), "value": value}, h

        return Agent(lambda theta, key: theta.init(), act, lambda theta, h, trajectories, key: h)

    collector = acting(lambda pi, key: pi.sample(key))
    agent = collector if cfg.eval_mode == "stochastic" else acting(lambda pi, key: pi.mode())

    # -- objective: the return of the trial, through every h_t
    explore_steps = cfg.explore_episodes * benchmark.horizon
    policy = ppo(cfg, lambda theta, trial: theta.unroll(
        theta.init(), trial.timestep, trial.extras["live"])[1],
                 num_updates=cfg.num_updates)

    # -- learner
    def init(key):
        theta = RecurrentActorCritic(
            obs_size, num_actions, discrete=discrete, width=cfg.width, embed=cfg.embed,
            reader=cfg.reader, transitions=cfg.transitions, associative=cfg.associative,
            log_scale=cfg.log_scale, key=key)
        return State(theta, policy.init(theta))

    def update(state, key):
        k_collect, k_learn = jr.split(key)
        trials = new_trials(collector, benchmark, cfg, state.theta, k_collect)
        credited = jax.vmap(lambda r: credited_rewards(r, explore_steps=explore_steps))
        theta, learned, metrics = policy.improve(
            state.theta, state.ppo, trials, credited(trials.reward), k_learn)
        metrics["return"] = trial_return(trials)
        metrics["env_steps"] = learned.updates * trials.reward.size
        metrics["grad_steps"] = learned.updates * cfg.epochs * cfg.minibatches
        return State(theta, learned), metrics

    return Learner(init, update), agent, benchmark


if __name__ == "__main__":
    main(make, presets(Config, __file__))
