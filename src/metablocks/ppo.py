"""Proximal policy optimisation over trials: one block for every agent whose phi is a memory."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from metablocks.losses import (
    generalised_advantages,
    ppo_clip_loss,
    standardised,
    value_loss,
    without_gaps,
)
from metablocks.ranges import Ranged
from metablocks.trees import gradient_steps, mean_and_sum, minibatches, take
from metablocks.types import Key, Theta, Transition


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig(Ranged):
    """The numbers of PPO; with one epoch of one minibatch, A2C with standardised advantages."""

    epochs: int = 4
    """Passes over an update's trials."""
    minibatches: int = 4
    """Gradient steps of a pass."""
    lr: float = 1e-3
    """Adam's step size."""
    lr_end: float = 0.1
    """Share of it that is left at the end, linearly."""
    max_grad_norm: float = 0.5
    """Longer gradients are scaled down to this norm."""
    epsilon: float = 0.2
    """PPO's clip."""
    clip_value: bool = False
    """Whether the value's loss is clipped too."""
    gamma: float = 0.95
    """Discount, over the trial."""
    lam: float = 0.95
    """Weight of later temporal-difference errors in an advantage."""
    value_coef: float = 0.5
    """Weight of the value's loss, c_V."""
    entropy_coef: float = 0.05
    """Weight of the policy's entropy, c_H, at first."""
    entropy_end: float = 0.04
    """Share of it that is left at the end, linearly."""
    reward_scale: float = 1.0
    """Factor on the rewards that are learned from."""


class PPOState(NamedTuple):
    opt_state: Any
    updates: Int[Array, ""]


class PPO(NamedTuple):
    """Improvement of a policy on trials [N, T] that it has just made."""

    init: Callable[[Theta], PPOState]
    improve: Callable[
        [Theta, PPOState, Transition, Float[Array, "N T"], Key],
        tuple[Theta, PPOState, dict[str, Array]],
    ]
    """(theta, state, trials, the rewards to credit, key) -> (theta, state, mean losses)."""


def ppo(
    cfg: PPOConfig,
    heads: Callable[[Theta, Transition], tuple[Any, Float[Array, " T"]]],
    *,
    num_updates: int,
) -> PPO:
    """PPO whose return is the trial's.

        min E_trial E_t [ -min(rho_t A_t, clip(rho_t, 1 +- epsilon) A_t)
                          + c_V 1/2 (V_t - G_t)^2 - c_H H(pi_t) ]
        A_t: generalised advantages, standardised over an update;  G_t = A_t + V_t before that

    The discount is never cut inside a trial, and the trial's last step ends it (V_T = 0). Trials
    stay whole in the minibatches, so that `heads` may unroll a memory over them. Steps that are not
    `live`, of no episode because one ended before its time, are as if they were not there: E_t is
    over the update's live steps.

    Args:
        heads: (theta, trial [T]) -> (the policies pi_t, stacked, with `log_prob` and `entropy`, and
            the values V_t [T] at its steps).
        num_updates: over how many updates the step size and the entropy's weight fall.

    The trials' extras must hold `log_prob` and `value`, as they were when the trial was made, and
    `live` (`collection.new_trials`).
    Schulman et al. 2017, https://arxiv.org/abs/1707.06347.
    """
    num_steps = cfg.epochs * cfg.minibatches
    schedule = optax.linear_schedule(cfg.lr, cfg.lr * cfg.lr_end, num_updates * num_steps)
    optimiser = optax.chain(optax.clip_by_global_norm(cfg.max_grad_norm), optax.adam(schedule))
    entropy_coef = optax.linear_schedule(
        cfg.entropy_coef, cfg.entropy_coef * cfg.entropy_end, num_updates
    )

    def advantages(reward: Array, value: Array, live: Array) -> Float[Array, " T"]:
        discount = jnp.full_like(reward, cfg.gamma)
        discount, value, lam = without_gaps(live, discount, value, lam=cfg.lam)
        reward = cfg.reward_scale * live * reward
        return generalised_advantages(reward, discount, value, lam=lam, bootstrap=jnp.zeros(()))

    def step_losses(
        pi: Any, value: Array, row: Transition, advantage: Array, target: Array, c_h: Array
    ) -> dict[str, Array]:
        made = row.extras
        log_prob = jnp.where(made["live"], pi.log_prob(row.action), made["log_prob"])
        near = {"behaviour_value": made["value"], "epsilon": cfg.epsilon} if cfg.clip_value else {}
        return {
            "policy": made["live"]
            * ppo_clip_loss(log_prob, made["log_prob"], advantage, epsilon=cfg.epsilon),
            "value": made["live"] * cfg.value_coef * value_loss(value, target, **near),
            "entropy": made["live"] * -c_h * pi.entropy(),
        }

    def trial_losses(theta: Theta, trial: Transition, advantage: Array, target: Array, c_h: Array):
        over_steps = jax.vmap(step_losses, in_axes=(0, 0, 0, 0, 0, None))
        return over_steps(*heads(theta, trial), trial, advantage, target, c_h)

    def init(theta: Theta) -> PPOState:
        return PPOState(optimiser.init(theta), jnp.zeros((), jnp.int32))

    def improve(theta: Theta, state: PPOState, trials: Transition, reward: Array, key: Key):
        if reward.shape != trials.reward.shape:
            raise ValueError(
                f"rewards {reward.shape} must be one for each of the trials' steps "
                f"{trials.reward.shape}"
            )
        value, live = trials.extras["value"], trials.extras["live"]
        share = live.mean()
        advantage = jax.vmap(advantages)(reward, value, live)
        data = trials, standardised(advantage, where=live), advantage + value
        c_h = jnp.asarray(entropy_coef(state.updates))

        def loss(theta: Theta, rows: Array):
            over_trials = jax.vmap(trial_losses, in_axes=(None, 0, 0, 0, None))
            trial, advantage, target = take(data, rows)
            losses = over_trials(theta, trial, advantage, target, c_h)
            return mean_and_sum(jax.tree.map(lambda loss: loss / share, losses))

        batches = minibatches(len(reward), epochs=cfg.epochs, num=cfg.minibatches, key=key)
        theta, opt_state, losses = gradient_steps(loss, optimiser, theta, state.opt_state, batches)
        return theta, PPOState(opt_state, state.updates + 1), losses

    return PPO(init, improve)
