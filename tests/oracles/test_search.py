"""The gridworld's dynamic program against every path there is, and against its own agent."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.envs.gridworld import goal_cells, gridworld
from metablocks.evaluate import adaptation_curve
from metablocks.oracles import search

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))


def value_of(path, goal, size, horizon):
    """The return of following `path` until the goal is met and of going straight to it after."""
    total, known = 0.0, False
    for episode in path:
        x, y = 0, 0
        for action in episode:
            if known:
                step = (goal[0] > x) - (goal[0] < x), (goal[1] > y) - (goal[1] < y)
                step = (step[0], 0) if step[0] else step
            else:
                step = MOVES[action]
            x, y = (min(max(a + b, 0), size - 1) for a, b in zip((x, y), step, strict=True))
            there = (x, y) == tuple(goal)
            known |= there
            total += 1.0 if there else -0.1
    return total


@pytest.mark.parametrize(("horizon", "episodes"), [(3, 2), (2, 3), (5, 1)])
def test_the_best_search_equals_the_best_of_all_paths(horizon, episodes):
    goals = goal_cells(3)
    grid = search.problem(np.zeros((3, 3), bool), goals, (0, 0), horizon, episodes)
    found = search.best_search(grid)
    best = -np.inf
    for choice in itertools.product(range(5), repeat=horizon * episodes):
        path = np.reshape(choice, (episodes, horizon)).tolist()
        best = max(best, sum(value_of(path, goal, 3, horizon) for goal in goals) / len(goals))
    claimed = np.mean([value_of(found.actions, goal, 3, horizon) for goal in goals])
    assert found.returns.sum() == pytest.approx(claimed)
    assert found.returns.sum() == pytest.approx(best)


def test_the_gridworld_has_the_known_value_and_its_agent_gets_it_from_every_goal():
    agent, found = search.bayes_optimal()
    np.testing.assert_allclose(found.returns, [4.0, 11.0714, 11.0714, 11.0714], atol=1e-3)
    assert found.returns.sum() == pytest.approx(37.214, abs=1e-3)
    benchmark = gridworld()
    np.testing.assert_allclose(benchmark.bayes, found.returns, rtol=1e-6)
    assert gridworld(horizon=14).bayes is None
    goals = jnp.array(goal_cells(5))
    tasks = jax.tree.map(lambda leaf: jnp.repeat(leaf, 21, axis=0), benchmark.test(jr.key(0), 1))
    returns, _ = jax.jit(
        lambda key: adaptation_curve(
            agent, benchmark, None, tasks.replace(goal=goals), episodes=4, key=key
        )
    )(jr.key(1))
    np.testing.assert_allclose(returns.mean(axis=0), found.returns, rtol=1e-5)


def test_the_agent_obeys_the_law_of_agents():
    agent, _ = search.bayes_optimal(size=3, horizon=4, episodes=2)
    benchmark = gridworld(size=3, horizon=4)
    laws.agent_preserves_structure(agent, benchmark, None, shots=1, num_steps=4, examples=1)


def test_a_goal_behind_walls_is_refused():
    walls = np.zeros((3, 3), bool)
    walls[1, 2] = walls[2, 1] = True
    with pytest.raises(ValueError, match="cannot be reached"):
        search.problem(walls, [(2, 2)], (0, 0), 4, 1)
