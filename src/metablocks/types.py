"""The records and bundles of functions that cross floors: the vocabulary of the package."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, Shaped

Theta = PyTree
"""Meta-parameters: what meta-training learns."""
Phi = PyTree
"""What adaptation makes of data, phi = f_theta(D): a posterior, adapted weights, a memory."""
Task = Any
"""One MDP of p(T): a gymnax `EnvParams` whose leaves are arrays."""
Key = PRNGKeyArray


class TimeStep(eqx.Module):
    """What a policy may look at when it picks a_t.

    `first` marks the first step of an episode; the previous action and reward survive episode
    ends, because a policy with memory adapts across them. At the very first step of a trial they
    are zero.
    """

    obs: Shaped[Array, "*obs"]
    prev_action: Shaped[Array, "*action"]
    prev_reward: Float[Array, ""]
    first: Bool[Array, ""]


class Transition(eqx.Module):
    """One step (s_t, a_t, r_t, s_{t+1}) and whatever the policy and the world recorded with it.

    `next_obs` is the observation the step led to, also when the episode ended there (never the
    observation after the reset). `terminated` is the MDP's own end, `truncated` the time limit's.
    """

    timestep: TimeStep
    action: Shaped[Array, "*action"]
    reward: Float[Array, ""]
    next_obs: Shaped[Array, "*obs"]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    extras: dict[str, PyTree]


class Agent(NamedTuple):
    """Meta-test: a policy pi_theta(a | s, phi) whose adaptation is phi = f_theta(D).

    One task; `vmap` for more. `prior` is phi before any data; `act` may fold the step into phi
    (a memory); `adapt` runs between rounds on the round's trajectories, [shots, T].
    """

    prior: Callable[[Theta, Key], Phi]
    act: Callable[[Theta, Phi, TimeStep, Key], tuple[Array, dict[str, PyTree], Phi]]
    adapt: Callable[[Theta, Phi, Transition, Key], Phi]
    expects: Callable[[Theta, Phi, Key], Float[Array, " n"]] | None = None
    """What phi expects every one of the plane's places to pay, as the mean reward or the
    probability of a pay: its belief, for pictures."""


class Learner(NamedTuple):
    """Meta-training: `update` is a `lax.scan` body over the keys `fold_in(key, i)`.

    The state is the recipe's own NamedTuple with a field `theta`; it holds arrays only and no
    PRNG key, so that an interrupted run resumes exactly. Metrics are scalars; `env_steps` and
    `grad_steps` count from the start of the run.
    """

    init: Callable[[Key], Any]
    update: Callable[[Any, Key], tuple[Any, dict[str, Array]]]


class Plane(NamedTuple):
    """How a world is drawn in the plane."""

    position: Callable[[Transition], Float[Array, " 2"]]
    """Where a step starts from."""
    goal: Callable[[Task], Float[Array, " 2"]]
    """Where the hidden goal is."""
    walls: Callable[[Task], Bool[Array, "n n"]] | None = None
    """What cannot be walked through, of the cells (x, y)."""
    places: Float[Array, "n 2"] | None = None
    """Points of a regular grid, the last coordinate fastest, to show beliefs at."""
    expected: Callable[[Transition], Float[Array, "T n"]] | None = None
    """The exact belief after every step of a trial [T], told as what each place
    is expected to pay: the mean reward, or the probability of a pay."""


class Benchmark(NamedTuple):
    """p(T): tasks that share one state space, one action space and one horizon.

    `train(key, num)` and `test(key, num)` draw `num` tasks, stacked along a leading axis. A
    finite set is drawn without replacement for as long as it lasts, so that
    `test(key, num_test_tasks)` is every held-out task once.
    """

    env: Any
    """A gymnax `Environment`; its parameters are the task."""
    horizon: int
    """Steps of an episode, H."""
    train: Callable[[Key, int], Task]
    """Tasks to meta-train on."""
    test: Callable[[Key, int], Task]
    """Held-out tasks."""
    descriptor: Callable[[Task], Float[Array, " d"]]
    """The privileged task vector mu, which no agent sees at meta-test."""
    oracle: Callable[[Task], Agent] | None = None
    """The optimal agent that is told the task, where it is known."""
    plane: Plane | None = None
    """How to draw it; None if the world is not planar."""
    bayes: tuple[float, ...] | None = None
    """The Bayes-optimal agent's return in every episode of a trial of so many, where known."""
