"""The grid against its rules, the told agent against breadth-first search, mazes against graphs."""

import collections

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.envs import gridworld as grids
from metablocks.envs.gridworld import HiddenGoal, gridworld, moved
from metablocks.envs.maze import draw_maze, maze
from metablocks.evaluate import oracle_return
from metablocks.rollout import rollout
from metablocks.trees import take
from metablocks.types import Agent

SIZE = 9


def breadth_first(goal, walls):
    """Steps to the goal from every cell that leads there."""
    found, queue = {tuple(goal): 0}, collections.deque([tuple(goal)])
    while queue:
        x, y = queue.popleft()
        for dx, dy in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there = (x + dx, y + dy)
            inside = min(there) >= 0 and max(there) < len(walls)
            if inside and not walls[there] and there not in found:
                found[there] = found[x, y] + 1
                queue.append(there)
    return found


def mazes(num):
    return np.asarray(jax.jit(jax.vmap(lambda key: draw_maze(key, SIZE)))(jr.split(jr.key(0), num)))


@pytest.mark.parametrize(
    ("cell", "action", "there"),
    [
        ((2, 2), 0, (2, 2)),
        ((2, 2), 1, (2, 3)),
        ((2, 2), 2, (3, 2)),
        ((2, 2), 3, (2, 1)),
        ((2, 2), 4, (1, 2)),
        ((0, 0), 4, (0, 0)),
        ((4, 4), 1, (4, 4)),
        ((1, 0), 1, (1, 0)),
    ],
)
def test_a_move_goes_one_cell_and_not_through_edge_or_wall(cell, action, there):
    walls = jnp.zeros((5, 5), bool).at[1, 1].set(True)
    assert tuple(np.asarray(moved(jnp.array(cell), jnp.int32(action), walls))) == there


def test_every_step_on_the_goal_pays_and_every_other_costs():
    benchmark = gridworld()
    task = take(benchmark.test(jr.key(0), 1), jnp.array(0))
    task = task.replace(goal=jnp.array([2, 0]))
    _, state = benchmark.env.reset(jr.key(0), task)
    rewards = []
    for action in (2, 2, 0, 4, 2):
        _, state, reward, *_ = benchmark.env.step(jr.key(1), state, jnp.int32(action), task)
        rewards.append(float(reward))
    np.testing.assert_allclose(rewards, [-0.1, 1.0, 1.0, -0.1, 1.0], rtol=1e-6)


def test_goals_are_uniform_outside_the_start_corner():
    goals = np.asarray(gridworld().train(jr.key(0), 21_000).goal)
    counts = collections.Counter(map(tuple, goals))
    assert set(counts) == {(x, y) for x in range(5) for y in range(5)} - {
        (0, 0), (0, 1), (1, 0), (1, 1)
    }  # fmt: skip
    chi_square = sum((n - 1000) ** 2 / 1000 for n in counts.values())
    assert chi_square < 45.3  # the 0.999 quantile with 20 degrees of freedom


def test_the_told_agent_gets_the_known_value():
    benchmark = gridworld()
    tasks = benchmark.test(jr.key(0), 1)
    goals = jnp.array(grids.goal_cells(5))
    every = jax.tree.map(lambda leaf: jnp.repeat(leaf, 21, axis=0), tasks).replace(goal=goals)
    returns = oracle_return(benchmark, every, key=jr.key(1), episodes=1)
    away = goals.sum(axis=1)
    np.testing.assert_allclose(returns, 15 - away + 1 - 0.1 * (away - 1), rtol=1e-5)
    assert float(returns.mean()) == pytest.approx(44.286 / 4, abs=1e-3)


def test_distances_are_those_of_breadth_first_search():
    for walls in mazes(5):
        goal = np.argwhere(~walls)[-1]
        found = breadth_first(goal, walls)
        distance = np.asarray(grids.distances(jnp.asarray(goal), jnp.asarray(walls)))
        for cell in np.ndindex(*walls.shape):
            assert distance[cell] == found.get(cell, grids.FAR)


def test_a_maze_is_a_spanning_tree_of_its_rooms():
    drawn = mazes(50)
    rooms = (SIZE // 2) ** 2
    for walls in drawn:
        assert walls[0].all() and walls[-1].all() and walls[:, 0].all() and walls[:, -1].all()
        assert not walls[1::2, 1::2].any()
        assert (~walls).sum() == 2 * rooms - 1  # a tree has one passage less than rooms
        assert len(breadth_first((1, 1), walls)) == 2 * rooms - 1  # and is connected
    assert len({walls.tobytes() for walls in drawn}) > 40


def test_a_maze_shows_the_walls_around_and_the_goal_only_from_close_by():
    benchmark = maze(size=SIZE)
    task = take(benchmark.test(jr.key(3), 1), jnp.array(0))
    walls, goal = np.asarray(task.walls), np.asarray(task.goal)
    for cell in np.argwhere(~walls):
        obs = np.asarray(benchmark.env.seen(jnp.asarray(cell), task))
        x, y = cell
        np.testing.assert_array_equal(obs[:9], walls[x - 1 : x + 2, y - 1 : y + 2].ravel())
        assert obs[9:18].sum() == (np.abs(goal - cell).max() <= 1)
        np.testing.assert_array_equal(obs[18:].reshape(2, SIZE).argmax(axis=1), cell)


def test_a_maze_s_goal_is_free_and_the_told_agent_goes_there_straight():
    benchmark = maze(size=SIZE, horizon=20)
    tasks = benchmark.test(jr.key(4), 20)
    returns = np.asarray(oracle_return(benchmark, tasks, key=jr.key(1), episodes=1))
    for walls, goal, value in zip(
        np.asarray(tasks.walls), np.asarray(tasks.goal), returns, strict=True
    ):
        away = breadth_first(goal, walls)[1, 1]
        assert away > 2
        expected = 20 - away + 1 - 0.1 * (away - 1) if away <= 20 else -2.0
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("benchmark", [gridworld(horizon=4), maze(size=5, horizon=4)])
def test_the_task_is_constant(benchmark):
    laws.task_is_constant_across_resets(benchmark)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gridworld(size=2), "size must be at least 3, got 2"),
        (lambda: gridworld(horizon=0), "horizon must be positive, got 0"),
        (lambda: maze(size=6), "size must be odd and at least 5, got 6"),
        (lambda: maze(horizon=-1), "horizon must be positive, got -1"),
    ],
)
def test_bad_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_exact_belief_is_uniform_over_what_was_not_ruled_out_until_the_goal_pays():
    benchmark = gridworld(horizon=3)
    task = HiddenGoal(jnp.array([1, 2]), jnp.zeros((5, 5), bool), jnp.int32(3))
    up_up_right = jnp.array([1, 1, 2])
    agent = Agent(
        lambda theta, key: jnp.int32(0),
        lambda theta, t, now, key: (up_up_right[t], {}, t + 1),
        lambda theta, t, trajectories, key: t,
    )
    _, trial = rollout(agent, benchmark.env, None, jnp.int32(0), task, num_steps=3, key=jr.key(0))
    belief = benchmark.plane.expected(trial).reshape(3, 5, 5)
    np.testing.assert_allclose(belief.sum(axis=(1, 2)), 1.0, rtol=1e-6)
    possible = jnp.ones((5, 5)).at[:2, :2].set(0.0) / 21  # (0, 1) could not be the goal anyway
    np.testing.assert_allclose(belief[0], possible, rtol=1e-6)
    np.testing.assert_allclose(belief[1], possible.at[0, 2].set(0.0) * 21 / 20, rtol=1e-6)
    np.testing.assert_allclose(belief[2], jnp.zeros((5, 5)).at[1, 2].set(1.0), rtol=1e-6)
    np.testing.assert_array_equal(benchmark.plane.places[7], [1, 2])
