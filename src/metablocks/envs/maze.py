"""Mazes that are drawn anew for every task, with a hidden goal."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from metablocks.envs.gridworld import (
    MOVES,
    Cell,
    GridEnv,
    HiddenGoal,
    cells_plane,
    distances,
    shortest_path_agent,
)
from metablocks.envs.tasks import drawn
from metablocks.types import Benchmark, Key


def draw_maze(key: Key, size: int) -> Bool[Array, "n n"]:
    """The walls of a perfect maze: one path between any two cells.

    Recursive backtracking over the cells of odd coordinates: walk to a random unvisited
    neighbour, opening the wall between; step back where there is none.
    """
    rooms = size // 2
    steps = 2 * rooms * rooms

    def carve(state, key):
        walls, stack, depth = state
        here = stack[depth]
        ends = here + 2 * jnp.asarray(MOVES[1:])
        inside = jnp.all((ends > 0) & (ends < size - 1), axis=1)
        held = jnp.clip(ends, 0, size - 1)
        fresh = inside & walls[held[:, 0], held[:, 1]]
        score = jnp.where(fresh, jr.uniform(key, (4,)), -1.0)
        there = held[jnp.argmax(score)]
        between = (here + there) // 2
        opened = walls.at[between[0], between[1]].set(False).at[there[0], there[1]].set(False)
        goes = jnp.any(fresh)
        depth = jnp.where(goes, depth + 1, jnp.maximum(depth - 1, 0))
        stack = jnp.where(goes, stack.at[depth].set(there), stack)
        return (jnp.where(goes, opened, walls), stack, depth), None

    walls = jnp.ones((size, size), bool).at[1, 1].set(False)
    stack = jnp.ones((rooms * rooms + 1, 2), jnp.int32)
    (walls, _, _), _ = jax.lax.scan(carve, (walls, stack, jnp.int32(0)), jr.split(key, steps))
    return walls


def maze(*, size: int = 9, horizon: int = 30) -> Benchmark:
    """A maze that is drawn anew for every task, and a goal in it that shows only from close by.

    The observation: the walls and the goal in the 3 x 3 cells around [18], then the cell's
    column and row, one-hot [2 size]. The goal is in any free cell more than two
    steps away. Rewards as in the gridworld. After the visual mazes of Duan et al. 2016,
    https://arxiv.org/abs/1611.02779, section 3.3.

    Raises:
        ValueError: size is not an odd number of at least 5, or horizon is not positive.
    """
    if size < 5 or size % 2 == 0:
        raise ValueError(f"size must be odd and at least 5, got {size}")
    if horizon < 1:
        raise ValueError(f"horizon must be positive, got {horizon}")

    def sample(key: Key) -> HiddenGoal:
        k_maze, k_goal = jr.split(key)
        walls = draw_maze(k_maze, size)
        free = ~walls & (distances(jnp.array([1, 1]), walls) > 2)
        goal = jr.choice(k_goal, size * size, p=free.ravel() / free.sum())
        cell = jnp.stack(jnp.divmod(goal, size))
        return HiddenGoal(cell, walls, max_steps_in_episode=jnp.int32(horizon))

    def observe(cell: Cell, task: HiddenGoal) -> Float[Array, " o"]:
        goals = jnp.zeros((size, size), bool).at[task.goal[0], task.goal[1]].set(True)
        seen = [
            jax.lax.dynamic_slice(layer, (cell[0] - 1, cell[1] - 1), (3, 3)).ravel()
            for layer in (task.walls, goals)
        ]
        place = jax.nn.one_hot(cell, size).ravel()
        return jnp.concatenate([*seen, place]).astype(jnp.float32)

    def cell_of(obs: Float[Array, " o"]) -> Cell:
        return jnp.argmax(obs[18:].reshape(2, size), axis=1)

    return Benchmark(
        env=GridEnv(size, (1, 1), observe, 18 + 2 * size),
        horizon=horizon,
        train=drawn(sample),
        test=drawn(sample),
        descriptor=lambda task: jnp.concatenate([task.goal, task.walls.ravel()]).astype(float),
        oracle=lambda task: shortest_path_agent(cell_of, task),
        plane=cells_plane(cell_of)._replace(walls=lambda task: task.walls),
    )
