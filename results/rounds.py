"""Draws how runs explore and adapt: python results/rounds.py PICTURE RUN_DIR [RUN_DIR ...]

A row for every run, a column for every round: all the episodes of one held-out task before its
first adaptation, and after 1, 2, 3 steps. Give folders that recipes wrote, which hold what was
learned (those under results/ do not); their benchmarks must lie in a plane.
"""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.evaluate import trials
from metablocks.experiment import plot, presets, read_config, restore_best
from metablocks.experiment.errors import UserError
from metablocks.rollout import live

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
ROUNDS, TASK = 4, 0


def episodes(run: Path, rounds: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """A run's name, its first seed's paths [rounds, shots, T, 2] and returns, and the goal."""
    saved = read_config(run)
    recipe = importlib.import_module(saved["recipe"])
    known = presets(recipe.Config, recipe.__file__)
    cfg = dataclasses.replace(known[saved["preset"]], **saved["config"])
    learner, agent, benchmark = recipe.make(cfg)
    if benchmark.plane is None:
        raise UserError(f"{run}: its benchmark {cfg.benchmark} has no plane to draw")
    theta = restore_best(run, learner, seed_index=0)
    tasks = benchmark.test(jr.key(TASK), 1)

    def shown(theta: Any) -> Any:
        phi = jax.vmap(agent.prior, (None, 0))(theta, jr.split(jr.key(1), 1))
        rows = trials(
            agent, benchmark, theta, phi, tasks, episodes=rounds, key=jr.key(2),
            shots=getattr(cfg, "eval_shots", 1),
        )  # fmt: skip
        over = jax.vmap(jax.vmap(jax.vmap(live)))(rows)
        steps = jax.vmap(jax.vmap(jax.vmap(jax.vmap(benchmark.plane.position))))(rows)
        paths = jnp.where(over[..., None], steps, jnp.nan)
        return paths[0], (over * rows.reward).sum(-1)[0].mean(-1)

    paths, returns = jax.jit(shown)(theta)
    goal = jax.vmap(benchmark.plane.goal)(tasks)[0]
    return f"{saved['recipe']} {saved['preset']}", *map(np.asarray, (paths, returns, goal))


def draw(path: Path, runs: list[Path]) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it, or give another")
    plt = plot.canvas()
    with plt.rc_context({**plot.STYLE, "axes.grid": False}):
        figure, grid = plt.subplots(
            len(runs), ROUNDS, squeeze=False, sharex="row", sharey="row", layout="constrained",
            figsize=(2.6 * ROUNDS, 2.4 * len(runs) + 0.3),
        )  # fmt: skip
        for row, run in zip(grid, runs, strict=True):
            name, paths, returns, goal = episodes(run, ROUNDS)
            colours = plot.colours(paths.shape[1])
            for k, axes in enumerate(row):
                for line, colour in zip(paths[k], colours, strict=True):
                    axes.plot(*line.T, color=colour, lw=0.9, alpha=0.8)
                plot.star(axes, goal)
                axes.set(xticks=[], yticks=[], aspect="equal")
                title = "before adaptation" if k == 0 else f"after {k} step{'s' * (k > 1)}"
                axes.set_title(f"{title}: {returns[k]:.1f}", fontsize=9, fontweight="normal")
            row[0].set_ylabel(name, fontsize=9)
        figure.savefig(path, bbox_inches="tight")
        plt.close(figure)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python results/rounds.py PICTURE RUN_DIR [RUN_DIR ...]")
    try:
        draw(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
    except (UserError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
