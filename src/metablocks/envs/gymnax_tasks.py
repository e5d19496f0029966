"""A Benchmark out of any gymnax environment and a law over its parameters."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from gymnax.environments import environment, spaces
from gymnax.environments.classic_control.cartpole import CartPole
from gymnax.environments.classic_control.pendulum import Pendulum
from jaxtyping import Array, Float

from metablocks.envs.tasks import drawn
from metablocks.types import Benchmark, Key, Task


def from_params(
    env: environment.Environment,
    sample: Callable[[Key], Task],
    *,
    horizon: int,
    descriptor: Callable[[Task], Float[Array, " d"]] | None = None,
) -> Benchmark:
    """p(T) = the law of `sample(key) -> EnvParams`, over one gymnax environment.

    Box actions are rescaled to [-1, 1]^d, discrete ones stay. Train and test tasks come from the
    same law. The episode ends after `horizon` steps whatever the parameters say.

    Args:
        env: the environment.
        sample: key -> its parameters, the hidden task.
        horizon: steps of an episode.
        descriptor: task -> the vector that tells it, for analysis and privileged blocks; by
            default all of its parameters.

    Raises:
        ValueError: horizon is not positive, or the environment's parameters know no
            `max_steps_in_episode`.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be positive, got {horizon}")
    if not hasattr(env.default_params, "max_steps_in_episode"):
        raise ValueError(f"the parameters of {env.name} have no max_steps_in_episode to set")

    def task(key: Key) -> Task:
        return dataclasses.replace(sample(key), max_steps_in_episode=jnp.int32(horizon))

    return Benchmark(
        env=rescaled(env),
        horizon=horizon,
        train=drawn(task),
        test=drawn(task),
        descriptor=descriptor or all_parameters,
    )


def all_parameters(task: Task) -> Float[Array, " d"]:
    """Every number of the parameters, in the order of their fields."""
    leaves = [jnp.ravel(jnp.asarray(leaf, jnp.float32)) for leaf in jax.tree.leaves(task)]
    return jnp.concatenate(leaves)


def rescaled(env: environment.Environment) -> environment.Environment:
    """The same environment with its Box actions in [-1, 1]^d; unchanged if they are discrete."""
    space = env.action_space(env.default_params)
    if not isinstance(space, spaces.Box):
        return env
    inner = copy.copy(env)
    half = (jnp.asarray(space.high) - jnp.asarray(space.low)) / 2
    middle = (jnp.asarray(space.high) + jnp.asarray(space.low)) / 2
    unit = spaces.Box(-1.0, 1.0, space.shape, jnp.float32)

    class Rescaled(type(env)):
        def step_env(self, key, state, action, params):
            action = middle + half * jnp.clip(action, -1.0, 1.0)
            return inner.step_env(key, state, action, params)

        def action_space(self, params=None):
            return unit

    outer = copy.copy(env)
    outer.__class__ = Rescaled
    return outer


def pendulum(*, horizon: int = 200, spread: float = 1.5) -> Benchmark:
    """gymnax's Pendulum with hidden mass, length and gravity, each its default times
    spread^U(-1, 1).

    Raises:
        ValueError: spread is not above 1.
    """
    return _spread(Pendulum(), ("m", "l", "g"), horizon=horizon, spread=spread)


def cartpole(*, horizon: int = 200, spread: float = 2.0) -> Benchmark:
    """gymnax's CartPole with hidden pole length and force, each its default times
    spread^U(-1, 1).

    Raises:
        ValueError: spread is not above 1.
    """

    def derived(task: Any) -> Task:
        return dataclasses.replace(task, polemass_length=task.masspole * task.length)

    names = ("length", "force_mag")
    return _spread(CartPole(), names, horizon=horizon, spread=spread, derived=derived)


def _spread(
    env: environment.Environment,
    names: tuple[str, ...],
    *,
    horizon: int,
    spread: float,
    derived: Callable[[Any], Task] = lambda task: task,
) -> Benchmark:
    """`env` with the named parameters multiplied by spread^U(-1, 1), independently; `derived`
    sets what follows from them."""
    if not spread > 1:
        raise ValueError(f"spread must be above 1, got {spread}")
    default = env.default_params

    def sample(key: Key) -> Task:
        factor = spread ** jr.uniform(key, (len(names),), minval=-1.0, maxval=1.0)
        values = {name: getattr(default, name) * factor[i] for i, name in enumerate(names)}
        return derived(dataclasses.replace(default, **values))

    def descriptor(task: Any) -> Float[Array, " d"]:
        return jnp.stack([jnp.asarray(getattr(task, name)) for name in names])

    return from_params(env, sample, horizon=horizon, descriptor=descriptor)
