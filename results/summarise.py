"""Draws what the README shows of the recorded runs: its table, and the pictures in results/."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metablocks.envs import catalogue
from metablocks.experiment import plot

HERE = Path(__file__).parent
BEGIN, END = "<!-- results: written by `make results` -->", "<!-- /results -->"
BOOKKEEPING = ("--seed", "--seeds", "--out", "--eval-every")


class Recorded(NamedTuple):
    """One folder of results/."""

    name: str
    config: dict[str, Any]
    last: dict[str, Any]
    """The last evaluation."""

    @property
    def returns(self) -> np.ndarray:
        """[seeds, episodes]."""
        return np.asarray(self.last["eval/return"])

    @property
    def told(self) -> float | None:
        """The return of the agent that is told the task."""
        return float(np.mean(self.last["eval/oracle"])) if "eval/oracle" in self.last else None

    @property
    def world(self) -> str:
        """The benchmark's name."""
        return self.config["config"]["benchmark"]

    @property
    def bayes(self) -> float | None:
        """The Bayes-optimal return of the last episode, where it is known for such a trial."""
        bayes = catalogue.benchmark(self.world).bayes
        known = bayes is not None and len(bayes) == self.returns.shape[1]
        return bayes[-1] if known else None

    @property
    def label(self) -> str:
        """Recipe, preset and whatever else the command changed."""
        words = shlex.split(self.config["command"])
        words, kept = words[words.index(self.config["preset"]) + 1 :], []
        while words:
            word = words.pop(0)
            value = [words.pop(0)] if words and not words[0].startswith("--") else []
            kept += [] if word.split("=")[0] in BOOKKEEPING else [word, *value]
        return " ".join([self.config["recipe"], self.config["preset"], *kept])


def recorded() -> list[Recorded]:
    """Every run that is kept, by name."""
    return [
        Recorded(
            path.parent.name,
            json.loads((path.parent / "config.json").read_text()),
            json.loads(path.read_text().splitlines()[-1]),
        )
        for path in sorted(HERE.glob("*/metrics.jsonl"))
    ]


def spread(returns: np.ndarray) -> np.ndarray:
    """The standard error over seeds of the mean return [episodes]."""
    return returns.std(axis=0, ddof=min(1, len(returns) - 1)) / len(returns) ** 0.5


def row(run: Recorded) -> str:
    mean, error = run.returns.mean(axis=0), spread(run.returns)
    curve = " / ".join(f"{mean[k]:.1f}" for k in (0, 1, 2, 4, 9) if k < len(mean))
    told, bayes = ("-" if known is None else f"{known:.1f}" for known in (run.told, run.bayes))
    whole = run.returns.sum(axis=1)
    steps = int(np.max(run.last["env_steps"]))
    return (
        f"| [{run.name}](results/{run.name}) | `{run.label}` | {len(run.returns)} | {steps:,} "
        f"| {curve} | {mean[-1]:.2f} ± {error[-1]:.2f} | {whole.mean():.2f} | {bayes} | {told} |"
    )


def table(runs: list[Recorded]) -> str:
    head = (
        "| run | recipe, preset, change | seeds | environment steps "
        "| return in episode 1 / 2 / 3 / 5 / 10 | last episode | whole trial "
        "| last episode, Bayes-optimal | told the task |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *map(row, runs)])


def adaptation(runs: list[Recorded], path: Path) -> None:
    """One panel per benchmark: return against episode in a new task, after meta-training."""
    plt = plot.canvas()
    worlds = sorted({run.world for run in runs})
    with plt.rc_context(plot.STYLE):
        rows, columns = -(-len(worlds) // 3), min(3, len(worlds))
        figure, grid = plt.subplots(
            rows, columns, figsize=(4.6 * columns, 3.8 * rows), squeeze=False, layout="constrained"
        )
        for spare in grid.flat[len(worlds) :]:
            spare.set_visible(False)
        for axes, world in zip(grid.flat, worlds, strict=False):
            here = [run for run in runs if run.world == world]
            here.sort(key=lambda run: -run.returns.mean(axis=0)[-1])
            for run, colour in zip(here, plot.colours(len(here)), strict=True):
                mean, error = run.returns.mean(axis=0), spread(run.returns)
                episodes = np.arange(1, len(mean) + 1)
                axes.plot(episodes, mean, color=colour, lw=2, marker="o", ms=3, label=run.name)
                axes.fill_between(episodes, mean - error, mean + error, color=colour, alpha=0.2)
            told = [run.told for run in here if run.told is not None]
            if told:
                axes.axhline(np.mean(told), color=plot.INK, lw=1, ls=(0, (4, 3)))
                axes.annotate("told the task", (1, np.mean(told)), (0, 4), fontsize=9,
                              textcoords="offset points")  # fmt: skip
            axes.set(title=world, xlabel="episode in a new task", ylabel="return")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False, fontsize=8)
        figure.savefig(path)
        plt.close(figure)


EXPLORERS = {
    "varibad-sparse": "VariBAD: acts on its belief",
    "rl2-sparse": "RL2: remembers",
    "sparse-point-robot": "PEARL: samples its belief",
}
"""The runs that are compared on the sparse point robot, and what each explores by."""


def exploration(runs: list[Recorded], path: Path) -> None:
    """The lecture's comparison: exploring for what it is worth, against posterior sampling."""
    plt, known = plot.canvas(), {run.name: run for run in runs if run.name in EXPLORERS}
    with plt.rc_context(plot.STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        for (name, run), colour in zip(known.items(), plot.colours(len(known)), strict=True):
            mean, error = run.returns.mean(axis=0), spread(run.returns)
            episodes = np.arange(1, len(mean) + 1)
            label = EXPLORERS[name]
            axes.plot(episodes, mean, color=colour, lw=2, marker="o", ms=4, label=label)
            axes.fill_between(episodes, mean - error, mean + error, color=colour, alpha=0.2)
            if run.told is not None:
                axes.axhline(run.told, color=plot.INK, lw=1, ls=(0, (4, 3)), zorder=1)
        axes.set(title="Sparse point robot: a goal that is not told", ylabel="return",
                 xlabel="episode in a new task")  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path)
        plt.close(figure)


if __name__ == "__main__":
    runs = recorded()
    if not runs:
        sys.exit(f"error: {HERE} holds no recorded run: keep one with results/record.py")
    readme = HERE.parent / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table(runs)}\n{END}{after}")
    adaptation(runs, HERE / "adaptation.png")
    exploration(runs, HERE / "exploration.png")
