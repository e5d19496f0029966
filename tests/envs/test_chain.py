"""The two chains, and their posteriors done by hand."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.envs.chain import LEFT, RIGHT, unknown_state, unknown_task
from metablocks.oracles.belief import filtered
from metablocks.trees import take

TO_THE = {
    LEFT: jnp.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]),
    RIGHT: jnp.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 1]]),
}
PRIOR = jnp.full(3, 1 / 3)


def test_the_unknown_state_by_hand():
    # to the right, and no reward: only from state 0, and now in state 1
    silent = jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(filtered(PRIOR, TO_THE[RIGHT], silent), [0, 1, 0])
    # to the right, and a reward: at the end
    np.testing.assert_allclose(filtered(PRIOR, TO_THE[RIGHT], 1 - silent), [0, 0, 1])
    # to the left, and no reward (there is none to the left): two thirds for the left end
    np.testing.assert_allclose(filtered(PRIOR, TO_THE[LEFT], silent), [2 / 3, 1 / 3, 0], rtol=1e-6)


def test_the_unknown_task_by_hand():
    same = jnp.eye(3)
    # arrived in the middle without reward: the goal is at an end
    np.testing.assert_allclose(
        filtered(PRIOR, same, jnp.array([1.0, 0.0, 1.0])), [0.5, 0, 0.5], rtol=1e-6
    )
    # then at the left end without reward: it is at the right one
    np.testing.assert_allclose(
        filtered(jnp.array([0.5, 0, 0.5]), same, jnp.array([0.0, 1.0, 1.0])), [0, 0, 1]
    )


@pytest.mark.parametrize("actions", [(LEFT,), (LEFT, LEFT), (LEFT, RIGHT)])
def test_the_filter_is_the_frequency_of_states_among_trials_that_look_alike(actions):
    benchmark = unknown_state(horizon=4)
    task = take(benchmark.train(jr.key(0), 1), jnp.array(0))

    def trial(key):
        obs, state = benchmark.env.reset(key, task)
        rewards = []
        for action in actions:
            obs, state, reward, *_ = benchmark.env.step(key, state, jnp.int32(action), task)
            rewards.append(reward)
        return state.state, jnp.stack(rewards), obs

    states, rewards, obs = jax.jit(jax.vmap(trial))(jr.split(jr.key(1), 20_000))
    assert (np.asarray(obs) == 1).all()  # nothing to see
    belief = PRIOR
    silent = jnp.array([1.0, 1.0, 0.0])
    for action in actions:
        belief = filtered(belief, TO_THE[action], silent)
    alike = np.asarray(rewards).sum(axis=1) == 0
    frequency = np.bincount(np.asarray(states)[alike], minlength=3) / alike.sum()
    np.testing.assert_allclose(frequency, belief, atol=0.02)


def test_the_unknown_task_shows_the_state_and_pays_at_the_goal():
    benchmark = unknown_task()
    task = take(benchmark.train(jr.key(0), 1), jnp.array(0)).replace(goal=jnp.int32(0))
    obs, state = benchmark.env.reset(jr.key(0), task)
    np.testing.assert_array_equal(obs, [0, 1, 0])
    rewards = []
    for action in (RIGHT, RIGHT, LEFT, LEFT):
        obs, state, reward, *_ = benchmark.env.step(jr.key(0), state, jnp.int32(action), task)
        rewards.append(float(reward))
    assert rewards == [0, 0, 0, 1]


@pytest.mark.parametrize("make", [unknown_state, unknown_task])
def test_the_task_is_constant(make):
    with pytest.raises(ValueError, match="horizon must be positive, got 0"):
        make(horizon=0)
    laws.task_is_constant_across_resets(make())
