"""The best order in which to search a grid for its hidden goal: the Bayes-optimal gridworld agent.

Until the goal is found nothing is learned but where it is not, so a policy is a fixed path; once it
is found, the shortest way there is best. That leaves one path to choose, by a dynamic program over
time, position and the set of cells not yet visited.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from metablocks.envs.gridworld import ACTIONS, FAR, MOVES, distances, goal_cells
from metablocks.types import Agent, Key, TimeStep


class Search(NamedTuple):
    """A search path, and what it is worth."""

    actions: Int[np.ndarray, "episodes horizon"]
    """What to do for as long as the goal is not found."""
    returns: Float[np.ndarray, " episodes"]
    """The expected return of every episode."""


class Problem(NamedTuple):
    """A grid with `goals` equally likely goal cells, in numbers. A cell's number is size x + y."""

    horizon: int
    episodes: int
    start: int
    moves: Int[np.ndarray, "cells actions"]
    """The cell that every action leads to."""
    goal_of: Int[np.ndarray, " cells"]
    """Which goal a cell is, or -1."""
    again: Float[np.ndarray, " goals"]
    """The return of an episode whose goal is known at its start."""


def problem(walls: Bool[np.ndarray, "n n"], goals: list, start: tuple, horizon: int, episodes: int):
    """The numbers of a grid."""
    size = len(walls)
    cells = np.stack(np.divmod(np.arange(size * size), size), axis=1)
    there = cells[:, None] + MOVES
    held = there.clip(0, size - 1)
    free = (there == held).all(-1) & ~walls[held[..., 0], held[..., 1]]
    moves = np.where(free, held @ np.array([size, 1]), np.arange(size * size)[:, None])
    goal_of = np.full(size * size, -1)
    goal_of[[size * x + y for x, y in goals]] = np.arange(len(goals))
    away = [int(distances(jnp.array(goal), jnp.asarray(walls))[tuple(start)]) for goal in goals]
    if max(away) >= FAR:
        raise ValueError(f"the goal {goals[int(np.argmax(away))]} cannot be reached from {start}")
    steps = np.minimum(np.maximum(np.array(away) - 1, 0), horizon)
    again = -0.1 * steps + (horizon - steps)
    first = size * start[0] + start[1]
    return Problem(horizon, episodes, first, moves, goal_of, again)


def found(grid: Problem, time: int) -> Float[np.ndarray, " goals"]:
    """What every goal is worth from the step on in which it is found, step `time` of the trial."""
    episode, step = divmod(time, grid.horizon)
    return grid.horizon - step + (grid.episodes - 1 - episode) * grid.again


def bounds(grid: Problem) -> Float[np.ndarray, "times goals"]:
    """An upper bound on what is still to come after a step, by how many goals are still hidden.

    One goal is found in every step, the one that is worth most at that time.
    """
    total, num = grid.horizon * grid.episodes, len(grid.again)
    best = np.array([found(grid, time).max() for time in range(total)])
    table = np.zeros((total + 1, num + 1))
    for time in reversed(range(total)):
        for hidden in range(1, num + 1):
            waiting = -0.1 * (hidden - 1)
            table[time, hidden] = best[time] + waiting + table[time + 1, hidden - 1]
    return table


def searched(grid: Problem, at_least: float, widest: int | None = None) -> tuple[float, list[int]]:
    """The best path's value, summed over goals, and its actions.

    Layer by layer: of the ways to (position, hidden goals) only the best so far is kept, and only
    if its bound reaches `at_least`; of these the `widest` best, where that is given (a beam).
    """
    limit, num = bounds(grid), len(grid.again)
    cell, hidden = np.array([grid.start]), np.array([(1 << num) - 1])
    value, trail = np.zeros(1), []
    for time in range(grid.horizon * grid.episodes):
        if time % grid.horizon == 0:
            cell = np.full_like(cell, grid.start)
        source = np.repeat(np.arange(len(cell)), len(ACTIONS))
        action = np.tile(ACTIONS, len(cell))
        there = grid.moves[cell].ravel()
        goal = grid.goal_of[there]
        bit = np.where(goal >= 0, 1 << np.maximum(goal, 0), 0)
        new = (hidden[source] & bit) > 0
        left = hidden[source] & ~bit
        count = np.bitwise_count(left)
        gain = np.where(new, found(grid, time)[goal], 0.0) - 0.1 * count
        total = value[source] + gain
        bound = total + limit[time + 1, count]
        order = np.lexsort((-total, left, there))
        same = (np.diff(there[order]) == 0) & (np.diff(left[order]) == 0)
        keep = order[np.concatenate([[True], ~same])]
        keep = keep[bound[keep] >= at_least - 1e-6]
        if widest is not None and len(keep) > widest:
            keep = keep[np.argsort(-bound[keep], kind="stable")[:widest]]
        cell, hidden, value = there[keep], left[keep], total[keep]
        trail.append((source[keep], action[keep]))
    here = int(value.argmax())
    best, actions = float(value[here]), []
    for source, action in reversed(trail):
        actions.append(int(action[here]))
        here = int(source[here])
    return best, actions[::-1]


def best_search(grid: Problem) -> Search:
    """The Bayes-optimal path: a narrow beam's value prunes the exact search."""
    at_least, _ = searched(grid, -np.inf, widest=2000)
    _, actions = searched(grid, at_least)
    returns, cell, hidden = np.zeros(grid.episodes), grid.start, set(range(len(grid.again)))
    known = np.zeros(len(grid.again), bool)
    for time, action in enumerate(actions):
        episode, step = divmod(time, grid.horizon)
        if step == 0:
            cell, returns[episode] = grid.start, grid.again[known].sum()
        cell = grid.moves[cell, action]
        goal = int(grid.goal_of[cell])
        if goal in hidden:
            hidden.remove(goal)
            known[goal] = True
            returns[episode] += grid.horizon - step
        returns[episode] -= 0.1 * len(hidden)
    return Search(np.array(actions).reshape(grid.episodes, -1), returns / len(grid.again))


class Seeker(NamedTuple):
    """phi of the searching agent."""

    time: Int[Array, ""]
    """Steps of the trial so far."""
    cell: Int[Array, ""]
    """Where the last action led."""
    goal: Int[Array, ""]
    """The goal's cell, or -1."""


def bayes_optimal(*, size: int = 5, horizon: int = 15, episodes: int = 4) -> tuple[Agent, Search]:
    """The agent of the highest expected return over a trial of `gridworld`, and its search.

    Zintgraf et al. 2019, https://arxiv.org/abs/1910.08348, compare with it.
    """
    walls = np.zeros((size, size), bool)
    grid = problem(walls, goal_cells(size), (0, 0), horizon, episodes)
    search = best_search(grid)
    plan, moves = jnp.asarray(search.actions), jnp.asarray(grid.moves)
    cells = jnp.stack(jnp.divmod(jnp.arange(size * size), size), axis=1)
    away = jax.vmap(distances, (0, None))(cells, jnp.asarray(walls)).reshape(size * size, -1)

    def prior(theta: Any, key: Key) -> Seeker:
        return Seeker(jnp.int32(0), jnp.int32(grid.start), jnp.int32(-1))

    def act(theta: Any, seen: Seeker, timestep: TimeStep, key: Key):
        paid = (timestep.prev_reward > 0.5) & (seen.time > 0)
        goal = jnp.where((seen.goal < 0) & paid, seen.cell, seen.goal)
        here = jnp.where(timestep.first, grid.start, seen.cell)
        episode, step = jnp.divmod(jnp.minimum(seen.time, plan.size - 1), horizon)
        straight = jnp.argmin(away[goal, moves[here]])
        action = jnp.where(goal < 0, plan[episode, step], straight)
        return action, {}, Seeker(seen.time + 1, moves[here, action], goal)

    return Agent(prior, act, lambda theta, seen, trajectories, key: seen), search
