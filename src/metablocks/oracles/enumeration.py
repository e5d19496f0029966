"""Every trajectory of a small MDP, so that expectations over them are sums: no sampling error."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from metablocks.envs.tabular import TabularMDP


class Enumerated:
    """All trajectories of `horizon` steps of a tabular MDP from state 0, and what each is worth.

        E_{tau ~ pi} f(tau) = sum_i p_pi(tau_i) f(tau_i)

    A policy is a table of logits [S, A]. Small sizes only: there are A (S A)^(H - 1) trajectories.

    Attributes:
        states, actions: of every trajectory, [n, H].
        rewards: the mean reward of every step, [n, H].
        luck: what the world's draws contribute to a trajectory's probability, [n].
    """

    states: Int[Array, "n H"]
    actions: Int[Array, "n H"]
    rewards: Float[Array, "n H"]
    luck: Float[Array, " n"]

    def __init__(self, task: TabularMDP, *, horizon: int):
        transition, reward = jnp.asarray(task.transition), jnp.asarray(task.reward)
        num_states, num_actions = reward.shape
        if horizon < 1:
            raise ValueError(f"horizon must be positive, got {horizon}")
        steps = [range(num_actions)] + [range(num_states), range(num_actions)] * (horizon - 1)
        rows = np.array(list(itertools.product(*steps)))
        states = np.concatenate([np.zeros_like(rows[:, :1]), rows[:, 1::2]], axis=1)
        actions = rows[:, 0::2]
        met = transition[states[:, :-1], actions[:, :-1], states[:, 1:]]
        self.states, self.actions = jnp.asarray(states), jnp.asarray(actions)
        self.rewards = reward[states, actions]
        self.luck = met.prod(axis=1)

    def log_probs(self, logits: Float[Array, "S A"]) -> Float[Array, "n H"]:
        """log pi(a_t | s_t) of every step."""
        return jax.nn.log_softmax(logits)[self.states, self.actions]

    def probabilities(self, logits: Float[Array, "S A"]) -> Float[Array, " n"]:
        """p_pi of every trajectory."""
        return self.luck * jnp.exp(self.log_probs(logits).sum(axis=1))

    def to_go(self) -> Float[Array, "n H"]:
        """The rewards from every step on, summed up."""
        return jnp.cumsum(self.rewards[:, ::-1], axis=1)[:, ::-1]

    def value(self, logits: Float[Array, "S A"]) -> Float[Array, ""]:
        """J(pi) = E_tau sum_t r_t."""
        return self.probabilities(logits) @ self.rewards.sum(axis=1)
