"""Pictures of a run: learning and adaptation curves, and adaptation in the plane."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

INK, FAINT = "#222222", "#9a9a9a"
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.dpi": 160,
}


def canvas() -> Any:
    """matplotlib, without a display, in this module's style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def colours(num: int) -> np.ndarray:
    """One colour per episode, dark to light, the yellow end left out for legibility."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, max(num, 2)))[:num]


def spaced(heights: list[float], least: float) -> list[float]:
    """The heights moved apart until neighbours are `least` apart, their order kept."""
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights, float)
    for _ in range(200):
        for low, high in itertools.pairwise(order):
            lack = least - (placed[high] - placed[low])
            if lack > 1e-9:
                placed[low] -= lack / 2
                placed[high] += lack / 2
    return placed.tolist()


def curve(path: Path, lines: list[dict[str, Any]], *, unit: str) -> None:
    """Left: the return of every unit of adaptation while training; right: adaptation at the end."""
    plt = canvas()
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(10, 4.2), width_ratios=(1.55, 1), sharey=True, layout="constrained"
        )
        figure.get_layout_engine().set(wspace=0.06)
        learning(left, lines, unit)
        adaptation(right, lines, unit)
        figure.savefig(path)
        plt.close(figure)


def learning(axes: Any, lines: list[dict[str, Any]], unit: str) -> None:
    """The return of adaptation episodes against environment steps, seeds thin and their mean."""
    steps = np.array([line["env_steps"] for line in lines])
    returns = np.array([line["eval/return"] for line in lines])  # [lines, seeds, episodes]
    num = returns.shape[-1]
    shown = sorted({0, *np.linspace(0, num - 1, min(num, 4)).round().astype(int), num - 1})
    mark = {"marker": "o", "markersize": 3} if len(steps) < 12 else {}
    means = []
    for episode in shown:
        colour = colours(num)[episode]
        if returns.shape[1] > 1:
            axes.plot(steps, returns[:, :, episode], color=colour, lw=0.7, alpha=0.4)
        means.append(returns[:, :, episode].mean(axis=1))
        axes.plot(steps, means[-1], color=colour, lw=2, **mark)
        if "eval/bayes" in lines[-1]:
            axes.axhline(lines[-1]["eval/bayes"][episode], color=colour, lw=1, ls=(0, (1, 2)))
    oracle(axes, lines)
    low, high = axes.get_ylim()
    heights = spaced([mean[-1] for mean in means], 0.055 * (high - low))
    for episode, height in zip(shown, heights, strict=True):
        axes.annotate(
            f"{unit} {episode + 1}",
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            color=colours(num)[episode],
            va="center",
            fontsize=9,
        )
    axes.set_ylim(low, high)
    axes.margins(x=0.0)
    axes.set(title="Meta-training", xlabel="environment steps", ylabel="return on held-out tasks")
    axes.xaxis.set_major_formatter(lambda x, _: short(x))


def adaptation(axes: Any, lines: list[dict[str, Any]], unit: str) -> None:
    """The return of each adaptation episode at the end, and before training."""
    first, last = np.array(lines[0]["eval/return"]), np.array(lines[-1]["eval/return"])
    episodes = np.arange(1, last.shape[-1] + 1)
    if len(lines) > 1:
        axes.plot(episodes, first.mean(axis=0), color=FAINT, lw=1.5, marker="o", markersize=3)
        label(axes, episodes[-1], first.mean(axis=0)[-1], "untrained", FAINT)
    if len(last) > 1:
        axes.plot(episodes, last.T, color="#3b528b", lw=0.7, alpha=0.4)
    mean = last.mean(axis=0)
    axes.plot(episodes, mean, color="#3b528b", lw=2, zorder=3)
    axes.scatter(episodes, mean, c=colours(len(mean)), s=36, zorder=4, ec="white", lw=0.8)
    oracle(axes, lines)
    if "eval/bayes" in lines[-1]:
        bayes = lines[-1]["eval/bayes"]
        axes.plot(episodes, bayes, "_", color=INK, ms=22, zorder=5)
        label(axes, episodes[-1], bayes[-1] - 1e-9, "Bayes-optimal", INK)
    axes.set(title="Adaptation", xlabel=f"{unit} in a new task")
    axes.set_xlim(0.7, len(episodes) + 0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)


def label(axes: Any, x: Any, y: Any, text: str, colour: str) -> None:
    """A name beside the end of a line, in place of a legend."""
    axes.annotate(
        text, (x, y), (0, 6), textcoords="offset points", ha="right", color=colour, fontsize=9
    )


def oracle(axes: Any, lines: list[dict[str, Any]]) -> None:
    """A dashed line at what is possible when the task is told."""
    if "eval/oracle" not in lines[-1]:
        return
    height = float(np.mean(lines[-1]["eval/oracle"]))
    axes.axhline(height, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
    axes.annotate(
        "oracle", (0.0, height), (4, 4), xycoords=("axes fraction", "data"),
        textcoords="offset points", color=INK, fontsize=9,
    )  # fmt: skip


def short(value: Any) -> str:
    """A count in thousands or millions."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def trajectories(path: Path, paths: np.ndarray, marks: Any, *, unit: str) -> None:
    """Held-out tasks in columns; the path of every unit [tasks, units, T, 2], dark to light.

    `marks` holds the goals [tasks, 2] and the walls [tasks, n, n] or None.
    """
    plt = canvas()
    num_tasks, num_episodes = paths.shape[:2]
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, row = plt.subplots(
            1, num_tasks, figsize=(2.5 * num_tasks + 0.9, 3.0), squeeze=False,
            sharex=True, sharey=True, layout="constrained",
        )  # fmt: skip
        for index, axes in enumerate(row[0]):
            for episode, colour in enumerate(colours(num_episodes)):
                x, y = paths[index, episode].T
                axes.plot(x, y, color=colour, lw=1.8, alpha=0.9, solid_capstyle="round")
                arrived = np.flatnonzero(np.isfinite(x))
                if len(arrived):
                    axes.plot(x[arrived[-1]], y[arrived[-1]], "o", color=colour, ms=4)
            star(axes, marks.goals[index])
            if marks.walls is not None:
                axes.imshow(marks.walls[index].T, origin="lower", cmap="Greys", vmax=3)
            axes.set_title(f"task {index + 1}", fontweight="normal")
            axes.set_aspect("equal", adjustable="box")
            axes.tick_params(labelsize=8)
        unit_bar(plt, figure, row[0], num_episodes, unit)
        figure.savefig(path)
        plt.close(figure)


def star(axes: Any, goal: np.ndarray) -> None:
    """The hidden goal."""
    axes.plot(*goal, "*", color="#d55e00", ms=14, mec="white", zorder=5)


def beliefs(path: Path, shown: Any, goals: np.ndarray) -> None:
    """Episodes in rows; for every held-out task its path over what was believed at the end of the
    episode, and, where it is known, over what should have been: light is a higher expected reward.

    `shown` holds paths [tasks, episodes, T, 2], places [n, 2], learned and exact [tasks, episodes,
    n] (exact may be None).
    """
    plt = canvas()
    num_tasks, num_episodes = shown.paths.shape[:2]
    kinds = {"learned": shown.learned} | ({} if shown.exact is None else {"exact": shown.exact})
    across, up = (np.unique(shown.places[:, axis]) for axis in (0, 1))
    half = [(line[1] - line[0]) / 2 for line in (across, up)]
    box = (across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1])
    columns, shape = num_tasks * len(kinds), (box[3] - box[2]) / (box[1] - box[0])
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, grid = plt.subplots(
            num_episodes, columns, squeeze=False, sharex=True, sharey=True, layout="constrained",
            figsize=(1.7 * columns + 0.6, 1.7 * num_episodes * shape + 0.7),
        )  # fmt: skip
        for (episode, column), axes in np.ndenumerate(grid):
            task, kind = divmod(column, len(kinds))
            name, values = list(kinds.items())[kind]
            image = values[task, episode].reshape(len(across), len(up)).T
            axes.imshow(image, origin="lower", extent=box, cmap="magma", vmin=0.0)
            axes.plot(*shown.paths[task, episode].T, color="#56b4e9", lw=1.6)
            star(axes, goals[task])
            axes.set(xticks=[], yticks=[], xlim=box[:2], ylim=box[2:])
            if episode == 0:
                axes.set_title(f"task {task + 1}, {name}", fontweight="normal", fontsize=9)
            if column == 0:
                axes.set_ylabel(f"episode {episode + 1}")
        figure.savefig(path)
        plt.close(figure)


def unit_bar(plt: Any, figure: Any, row: Any, num: int, unit: str) -> None:
    """The key to the colours: which unit of adaptation a path is of."""
    from matplotlib import colors

    listed = colors.ListedColormap(colours(num))
    scale = colors.BoundaryNorm(np.arange(num + 1) + 0.5, num)
    bar = figure.colorbar(
        plt.cm.ScalarMappable(scale, listed), ax=list(row), fraction=0.025, pad=0.015, aspect=14
    )
    step = max(1, num // 5)
    bar.set_ticks([*range(1, num + 1, step)])
    bar.set_label(unit, fontsize=9)
    bar.ax.minorticks_off()
    bar.ax.tick_params(size=0, labelsize=8)
    bar.outline.set_visible(False)
