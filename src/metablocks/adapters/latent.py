"""Adaptation of a latent's law by gradient steps, and exploring with one draw an episode."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PyTree

from metablocks.adapters.gradient import Adapted, GradientAdapter, unadapted
from metablocks.dists import DiagNormal
from metablocks.types import Agent, Key, Theta, TimeStep, Transition


class LatentLaw(eqx.Module):
    """N(mean, exp(log_scale)^2) of a latent z: the parameters that adapt."""

    mean: Float[Array, " z"]
    log_scale: Float[Array, " z"]

    def law(self) -> DiagNormal:
        """The distribution."""
        return DiagNormal(self.mean, jnp.exp(self.log_scale))

    def at(self, noise: Float[Array, " z"]) -> Float[Array, " z"]:
        """z = mean + scale * noise: through it, what a z does tells the law."""
        return self.mean + jnp.exp(self.log_scale) * noise


def standard_latent(size: int) -> LatentLaw:
    """N(0, I)."""
    return LatentLaw(jnp.zeros(size), jnp.zeros(size))


class Held(NamedTuple):
    """phi: the latent's law, and the noise of the draw that this episode acts on."""

    adapted: Adapted
    noise: Float[Array, " z"]


def held(law: LatentLaw) -> Held:
    """phi before any data."""
    return Held(unadapted(law), jnp.zeros_like(law.mean))


def latent_agent(
    adapter: GradientAdapter,
    start: Callable[[Theta], LatentLaw],
    act: Callable[[Theta, Float[Array, " z"], TimeStep, Key], tuple[Array, dict[str, PyTree]]],
    data: Callable[[Transition], Any],
) -> Agent:
    """The agent that draws z once an episode, and adapts the law that it is drawn from.

        z ~ N(mu, sigma^2),    a_t ~ pi_theta(. | s_t, z),    (mu, sigma) <- adapter's step

    Noise that is held explores with purpose: an episode goes *somewhere*. What it records: `z` and
    its `noise`, beside the extras of `act`. Gupta et al. 2018, https://arxiv.org/abs/1802.07245.

    Args:
        start: theta -> the law before any data.
        act: (theta, z, timestep, key) -> (action, extras).
        data: a round's trajectories [N, T] -> what the adapter's loss reads; for `latent_loss`,
            `lambda rows: with_advantages(rows, cfg)`.
    """

    def step(theta: Theta, phi: Held, timestep: TimeStep, key: Key):
        k_noise, k_act = jr.split(key)
        fresh = jr.normal(k_noise, phi.noise.shape)
        noise = jnp.where(timestep.first, fresh, phi.noise)
        z = phi.adapted.params.at(noise)
        action, extras = act(theta, z, timestep, k_act)
        return action, {"z": z, "noise": noise} | extras, Held(phi.adapted, noise)

    def adapt(theta: Theta, phi: Held, trajectories: Transition, key: Key) -> Held:
        return Held(adapter.step(theta, phi.adapted, data(trajectories)), phi.noise)

    return Agent(lambda theta, key: held(start(theta)), step, adapt)


def latent_loss(law: LatentLaw, rows: Transition) -> Float[Array, " N"]:
    """The score-function loss of a law from which one draw was held through each trajectory [N].

        -log N(z; mu, sigma^2) A_0,    A_0 the advantage of the first step, standardised over the N

    the whole trajectory's return is the draw's. Gupta et al. 2018,
    https://arxiv.org/abs/1802.07245, and its released code: z is data, not differentiated.

    Raises:
        ValueError: there is one trajectory, which tells nothing.
    """
    advantage = rows.extras["advantage"][:, 0]
    if len(advantage) < 2:
        raise ValueError(
            "a latent's law adapts by comparing draws, and there is 1: shots, and eval_shots at "
            "meta-test, must be at least 2"
        )
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    z = jax.lax.stop_gradient(rows.extras["z"][:, 0])
    return -jax.vmap(law.law().log_prob)(z) * jax.lax.stop_gradient(advantage)
