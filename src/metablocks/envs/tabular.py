"""Random tabular MDPs: tasks that differ in everything."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Float, Int

from metablocks.envs.tasks import drawn
from metablocks.types import Agent, Benchmark, Key


@struct.dataclass
class TabularMDP:
    """The task: P(s' | s, a) as [S, A, S] and the mean reward as [S, A]."""

    transition: Any
    reward: Any
    max_steps_in_episode: Any = 10


@struct.dataclass
class Place:
    """The state, and the step of the episode."""

    state: Any
    time: Any


class TabularEnv(environment.Environment):
    """s' ~ P(. | s, a), r ~ N(reward[s, a], noise^2), s_0 = 0; the observation is s, one-hot."""

    def __init__(self, num_states: int, num_actions: int, noise: float):
        self.states, self.actions, self.noise = num_states, num_actions, noise

    @property
    def default_params(self) -> TabularMDP:
        shape = (self.states, self.actions)
        return TabularMDP(
            transition=jnp.full((*shape, self.states), 1 / self.states),
            reward=jnp.ones(shape),
        )

    def step_env(self, key: Key, state: Place, action: Array, params: TabularMDP):
        k_state, k_reward = jr.split(key)
        mean = params.reward[state.state, action]
        reward = mean + self.noise * jr.normal(k_reward)
        law = params.transition[state.state, action]
        place = Place(state=jr.choice(k_state, self.states, p=law), time=state.time + 1)
        return self._observed(place), place, reward, jnp.array(False), {}

    def reset_env(self, key: Key, params: TabularMDP):
        del key
        place = Place(state=jnp.int32(0), time=jnp.int32(0))
        return self._observed(place), place

    def _observed(self, place: Place) -> Float[Array, " S"]:
        return jax.nn.one_hot(place.state, self.states)

    def action_space(self, params: TabularMDP | None = None) -> spaces.Discrete:
        return spaces.Discrete(self.actions)

    def observation_space(self, params: TabularMDP) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (self.states,), jnp.float32)


def optimal_policy(
    transition: Float[Array, "S A S"], reward: Float[Array, "S A"], *, horizon: int
) -> tuple[Int[Array, "H S"], Float[Array, "H S"]]:
    """The actions and values of every step and state of a known finite MDP.

    V_t(s) = max_a r(s, a) + sum_s' P(s' | s, a) V_{t+1}(s'),    V_H = 0
    """

    def backwards(value, _):
        q = reward + transition @ value
        return q.max(axis=1), (q.argmax(axis=1), q.max(axis=1))

    last = jnp.zeros(transition.shape[0])
    _, (actions, values) = jax.lax.scan(backwards, last, None, length=horizon, reverse=True)
    return actions, values


def random_mdp(*, num_states: int = 10, num_actions: int = 5, horizon: int = 10) -> Benchmark:
    """P(. | s, a) ~ Dirichlet(1), mean rewards ~ N(1, 1), reward noise N(0, 1), start state 0.

    Duan et al. 2016, https://arxiv.org/abs/1611.02779, section 3.2, and its released code.

    Raises:
        ValueError: a size is not positive.
    """
    sizes = {"num_states": num_states, "num_actions": num_actions, "horizon": horizon}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")

    def sample(key: Key) -> TabularMDP:
        k_transition, k_reward = jr.split(key)
        shape = (num_states, num_actions)
        return TabularMDP(
            transition=jr.dirichlet(k_transition, jnp.ones(num_states), shape),
            reward=1.0 + jr.normal(k_reward, shape),
            max_steps_in_episode=jnp.int32(horizon),
        )

    def told(task: TabularMDP) -> Agent:
        def prior(theta, key):
            return jnp.int32(0)

        def act(theta, time, timestep, key):
            actions, _ = optimal_policy(task.transition, task.reward, horizon=horizon)
            time = jnp.where(timestep.first, 0, time)
            return actions[time, jnp.argmax(timestep.obs)], {}, time + 1

        return Agent(prior, act, lambda theta, phi, trajectories, key: phi)

    return Benchmark(
        env=TabularEnv(num_states, num_actions, 1.0),
        horizon=horizon,
        train=drawn(sample),
        test=drawn(sample),
        descriptor=lambda task: jnp.concatenate([task.transition.ravel(), task.reward.ravel()]),
        oracle=told,
    )
