"""A hidden goal cell: the grids that agents walk on, and VariBAD's gridworld."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jaxtyping import Array, Bool, Float, Int

from metablocks.envs.tasks import drawn
from metablocks.types import Agent, Benchmark, Key, Plane, Task, Transition

Cell = Int[Array, " 2"]
MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])
"""What the actions noop, up, right, down, left add to (x, y)."""
ACTIONS = tuple(range(len(MOVES)))
BAYES = (4.0, 232.5 / 21, 232.5 / 21, 232.5 / 21)
"""What the Bayes-optimal agent gets in 4 episodes of 15 steps, by `oracles.search`."""
FAR = 1_000_000
"""The distance to what cannot be reached."""


@struct.dataclass
class HiddenGoal:
    """The task: the goal's cell (x, y) and the walls [n, n]."""

    goal: Any
    walls: Any
    max_steps_in_episode: Any = 15


@struct.dataclass
class Walker:
    """The cell (x, y), and the step of the episode."""

    cell: Any
    time: Any


class GridEnv(environment.Environment):
    """One cell a step, nowhere into a wall; +1 in every step that arrives on the goal, else -0.1.

    Args:
        size: cells along a side.
        start: the first cell of every episode.
        observe: (cell, task) -> observation.
        observation_size: its length.
    """

    def __init__(
        self,
        size: int,
        start: tuple[int, int],
        observe: Callable[[Cell, HiddenGoal], Float[Array, " o"]],
        observation_size: int,
    ):
        self.size, self.start, self.seen = size, start, observe
        self.observation_size = observation_size

    @property
    def default_params(self) -> HiddenGoal:
        goal = jnp.full(2, self.size - 1, jnp.int32)
        return HiddenGoal(goal=goal, walls=jnp.zeros((self.size, self.size), bool))

    def step_env(self, key: Key, state: Walker, action: Array, params: HiddenGoal):
        del key
        cell = moved(state.cell, action, params.walls)
        reward = jnp.where(jnp.all(cell == params.goal), 1.0, -0.1)
        state = Walker(cell=cell, time=state.time + 1)
        return self.seen(cell, params), state, reward, jnp.array(False), {"cell": cell}

    def reset_env(self, key: Key, params: HiddenGoal):
        del key
        cell = jnp.array(self.start, jnp.int32)
        return self.seen(cell, params), Walker(cell=cell, time=jnp.int32(0))

    def action_space(self, params: HiddenGoal | None = None) -> spaces.Discrete:
        return spaces.Discrete(len(MOVES))

    def observation_space(self, params: HiddenGoal) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (self.observation_size,), jnp.float32)


def moved(cell: Cell, action: Array, walls: Bool[Array, "n n"]) -> Cell:
    """The cell that an action leads to: the same one at a wall or the edge."""
    there = cell + jnp.asarray(MOVES)[action]
    inside = jnp.all((there >= 0) & (there < walls.shape[0]))
    held = jnp.clip(there, 0, walls.shape[0] - 1)
    return jnp.where(inside & ~walls[held[0], held[1]], held, cell)


def distances(goal: Cell, walls: Bool[Array, "n n"]) -> Int[Array, "n n"]:
    """Steps from every cell to the goal; 1,000,000 from where it cannot be reached.

    D(goal) = 0,    D(c) = 1 + min over neighbours D(c')
    """
    size = walls.shape[0]
    start = jnp.full((size, size), FAR).at[goal[0], goal[1]].set(0)

    def sweep(_, distance):
        padded = jnp.pad(distance, 1, constant_values=FAR)
        beside = [padded[1 + x : 1 + x + size, 1 + y : 1 + y + size] for x, y in MOVES[1:]]
        nearest = jnp.min(jnp.stack(beside), axis=0)
        return jnp.where(walls, FAR, jnp.minimum(jnp.minimum(distance, nearest + 1), FAR))

    return jax.lax.fori_loop(0, size * size, sweep, start)


def shortest_path_agent(cell_of: Callable[[Any], Cell], task: HiddenGoal) -> Agent:
    """Straight to the goal and then stay: optimal for whoever is told the task."""
    to_goal = distances(task.goal, task.walls)

    def act(theta, phi, timestep, key):
        ends = jax.vmap(moved, (None, 0, None))(
            cell_of(timestep.obs), jnp.array(ACTIONS), task.walls
        )
        return jnp.argmin(to_goal[ends[:, 0], ends[:, 1]]), {}, phi

    return Agent(lambda theta, key: None, act, lambda theta, phi, trajectories, key: phi)


def cell_index(cell: Cell, size: int) -> Int[Array, ""]:
    """size x + y: the cell's number."""
    return size * cell[0] + cell[1]


def goal_cells(size: int) -> list[tuple[int, int]]:
    """The cells (x, y) that may be the gridworld's goal: all but the start's 2 x 2 corner."""
    return [(x, y) for x in range(size) for y in range(size) if max(x, y) >= 2]


def cells_plane(cell_of: Callable[[Any], Cell]) -> Plane:
    """The plane of cells (x, y)."""

    def position(transition: Transition) -> Float[Array, " 2"]:
        return cell_of(transition.timestep.obs).astype(jnp.float32)

    def goal(task: Task) -> Float[Array, " 2"]:
        return task.goal.astype(jnp.float32)

    return Plane(position, goal)


def gridworld(*, size: int = 5, horizon: int = 15) -> Benchmark:
    """VariBAD's gridworld: the goal is uniform over the cells outside the 2 x 2 start corner.

        r = 1 on the goal, else -0.1, in every step;    s_0 = (0, 0),    H = 15

    The observation is the cell, one-hot [size^2]. Zintgraf et al. 2019,
    https://arxiv.org/abs/1910.08348, section 5.1, and its released code.

    Raises:
        ValueError: size is below 3, or horizon is not positive.
    """
    if size < 3:
        raise ValueError(f"size must be at least 3, got {size}")
    if horizon < 1:
        raise ValueError(f"horizon must be positive, got {horizon}")
    goals = jnp.array(goal_cells(size))
    walls = jnp.zeros((size, size), bool)

    def sample(key: Key) -> HiddenGoal:
        steps = jnp.int32(horizon)
        return HiddenGoal(jr.choice(key, goals), walls, max_steps_in_episode=steps)

    def observe(cell: Cell, task: HiddenGoal) -> Float[Array, " o"]:
        return jax.nn.one_hot(cell_index(cell, size), size * size)

    def cell_of(obs: Float[Array, " o"]) -> Cell:
        return jnp.stack(jnp.divmod(jnp.argmax(obs), size))

    prior = jnp.zeros(size * size).at[goals @ jnp.array([size, 1])].set(1.0)

    def possible(trial: Transition) -> Float[Array, "T n"]:
        """Uniform over the goals that fit every step so far: p(goal | D) = E[r = 1] at a cell."""
        fits = (trial.next_obs > 0.5) == (trial.reward > 0.5)[:, None]
        left = prior * jnp.cumprod(fits, axis=0)
        return left / left.sum(axis=1, keepdims=True)

    cells = jnp.stack(jnp.divmod(jnp.arange(size * size), size), axis=1).astype(jnp.float32)
    return Benchmark(
        env=GridEnv(size, (0, 0), observe, size * size),
        horizon=horizon,
        train=drawn(sample),
        test=drawn(sample),
        descriptor=lambda task: task.goal.astype(jnp.float32),
        oracle=lambda task: shortest_path_agent(cell_of, task),
        bayes=BAYES if (size, horizon) == (5, 15) else None,
        plane=cells_plane(cell_of)._replace(places=cells, expected=possible),
    )
