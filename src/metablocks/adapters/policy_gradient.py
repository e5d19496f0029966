"""Adaptation by policy-gradient steps: what MAML, E-MAML and ProMP have in common."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metablocks.adapters.gradient import (
    GradientAdapter,
    Part,
    gradient_adapter,
    gradient_agent,
    part,
)
from metablocks.adapters.step_sizes import Kind, StepSizes
from metablocks.baselines import linear_baseline, linear_features
from metablocks.losses import discounted_returns, discounts, generalised_advantages, standardised
from metablocks.nets import NormalPolicy
from metablocks.ranges import Ranged
from metablocks.rollout import live
from metablocks.types import Agent, Key, Transition

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}
Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptationConfig(Ranged):
    """The numbers of policy-gradient adaptation."""

    inner_steps: int = 1
    """Inner steps in meta-training."""
    inner_lr: float = 0.1
    """Their size alpha, at first where it is learned."""
    step_sizes: Kind = "fixed"
    """What alpha is: one number, or learned for every parameter, or for every array and step."""
    later_steps: float = 0.5
    """Share of alpha in steps beyond `inner_steps`, at meta-test."""
    later_decay: Literal["once", "every"] = "once"
    """Whether those steps all have that share, or every one that share of the one before."""
    first_order: bool = False
    """Whether inner gradients are taken as they are, not differentiated."""
    outer_rounds: Literal["last", "every"] = "last"
    """What the outer loss is of: the round after the last inner step, or after every one."""
    rematerialise: bool = False
    """Whether inner steps are computed again for the outer gradient instead of kept."""
    gamma: float = 0.99
    """Discount."""
    lam: float = 1.0
    """Weight of later temporal-difference errors in an advantage."""
    width: int = 64
    """Width of the policy's two layers."""
    activation: Literal["tanh", "relu"] = "tanh"
    """What is between them."""
    log_scale: float = -0.3
    """log sigma of the policy at first."""
    last_scale: float = 1.0
    """Share of Glorot's weights that the policy's last layer starts from."""

    @property
    def sizes(self) -> StepSizes:
        """The inner steps' sizes."""
        return StepSizes(
            self.step_sizes,
            alpha=self.inner_lr,
            steps=self.inner_steps,
            later=self.later_steps,
            every=self.later_decay == "every",
        )


class MetaPolicy(NamedTuple):
    """theta: the policy before any data, and the sizes of its steps."""

    policy: Any
    alpha: Any


WHOLE = part(lambda policy: policy)
"""What adapts, unless a part is named."""


def meta_policy(
    cfg: AdaptationConfig, obs_size: int, action_size: int, key: Key, *, adapts: Part = WHOLE
) -> MetaPolicy:
    """A new theta: the policy, and the step sizes of what adapts of it."""
    policy = new_policy(cfg, obs_size, action_size, key=key)
    return MetaPolicy(policy, cfg.sizes.init(adapts.of(policy)))


def new_policy(
    cfg: AdaptationConfig, obs_size: int, action_size: int, *, z_size: int = 0, key: Key
) -> NormalPolicy:
    """Two hidden layers, which read the state and, where z_size > 0, a latent beside it."""
    return NormalPolicy(
        obs_size,
        action_size,
        z_size=z_size,
        hidden=(cfg.width, cfg.width),
        activation=ACTIVATIONS[cfg.activation],
        log_scale=cfg.log_scale,
        last_scale=cfg.last_scale,
        key=key,
    )


def with_advantages(round_: Transition, cfg: AdaptationConfig) -> Transition:
    """One task's trajectories [N, T] with `live` and `advantage` in their extras.

    The values are a linear fit to the round itself. The advantages are standardised over its live
    steps and zero on the others: a mean over N x T is that over the live steps times their share,
    so that a step on data that ended early is shorter by it. The last step of the horizon ends the
    return: time is among the features.
    """
    alive, end = jax.vmap(live)(round_), jnp.zeros(())
    reward, discount = alive * round_.reward, discounts(round_.terminated, gamma=cfg.gamma)
    returns = jax.vmap(lambda r, d: discounted_returns(r, d, bootstrap=end))(reward, discount)
    features = jax.vmap(linear_features)(round_.timestep.obs)
    values = alive * linear_baseline(features, returns, alive)

    def advantages(r: Array, d: Array, v: Array) -> Float[Array, " T"]:
        return generalised_advantages(r, d, v, lam=cfg.lam, bootstrap=end)

    advantage = standardised(jax.vmap(advantages)(reward, discount, values), where=alive)
    told = {"live": alive, "advantage": alive * advantage}
    return eqx.tree_at(lambda rows: rows.extras, round_, round_.extras | told)


def over_steps(function: Callable) -> Callable:
    """A function of one step, over trajectories [N, T]."""
    return jax.vmap(jax.vmap(function))


def policies(policy: Any, rows: Transition) -> Any:
    """pi(. | s) at every step [N, T]."""
    return over_steps(policy)(rows.timestep.obs)


def log_probs(pi: Any, rows: Transition) -> Float[Array, "N T"]:
    """log pi(a | s) of what was done at every step, under the distributions pi [N, T]."""
    return over_steps(lambda pi, action: pi.log_prob(action))(pi, rows.action)


def surrogates(loss: Callable[..., Scalar], pi: Any, rows: Transition) -> Float[Array, "N T"]:
    """A surrogate at every step of one round, under the distributions pi [N, T].

        L(log pi(a | s), log mu(a | s), A),    mu the policy that made the round

    Args:
        loss: of one step, such as `likelihood_ratio_loss` or a `ppo_clip_loss` with its epsilon.
    """
    made = rows.extras
    return over_steps(loss)(log_probs(pi, rows), made["log_prob"], made["advantage"])


def policy_gradient_adapter(
    cfg: AdaptationConfig,
    surrogate: Callable[[Array, Array, Array], Array],
    *,
    adapts: Part = WHOLE,
) -> GradientAdapter:
    """Steps of the policy's parameters down a surrogate of one task's data [N, T].

        theta' = theta - alpha grad E_D [ L(log pi_theta(a | s), log mu(a | s), A) ]

    Args:
        surrogate: of one trajectory [T]: (log pi, log mu of the policy that made it, A) -> [T].
        adapts: which part of the policy steps, such as its last layer: phi's parameters.
    """

    def loss(theta: MetaPolicy, params: PyTree, rows: Transition) -> Float[Array, ""]:
        made, policy = rows.extras, adapts.into(theta.policy, params)
        log_prob = log_probs(policies(policy, rows), rows)
        return jax.vmap(surrogate)(log_prob, made["log_prob"], made["advantage"]).mean()

    return gradient_adapter(
        loss,
        lambda theta, step: cfg.sizes(theta.alpha, step),
        first_order=cfg.first_order,
        rematerialise=cfg.rematerialise,
    )


def policy_gradient_agent(
    cfg: AdaptationConfig, adapter: GradientAdapter, *, adapts: Part = WHOLE
) -> Agent:
    """The agent that acts by a sample of its policy and takes a step after every round.

    It records `log_prob` and the distribution `pi` that an action was drawn from.
    """

    def act(theta: MetaPolicy, params: PyTree, timestep, key: Key):
        pi = adapts.into(theta.policy, params)(timestep.obs)
        action = pi.sample(key)
        return action, {"log_prob": pi.log_prob(action), "pi": pi}

    return gradient_agent(
        adapter,
        lambda theta: adapts.of(theta.policy),
        act,
        lambda rows: with_advantages(rows, cfg),
    )


def outer_rows(tree: PyTree, cfg: AdaptationConfig) -> PyTree:
    """What the outer loss is of: the last of K + 1 rows, or all but the first."""
    first = 1 if cfg.outer_rounds == "every" else -1
    return jax.tree.map(lambda leaf: leaf[first:], tree)
