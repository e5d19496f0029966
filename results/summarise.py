"""Writes the README's table of recorded runs from results/*/metrics.jsonl."""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BEGIN, END = "<!-- results: written by `make results` -->", "<!-- /results -->"


def row(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    returns = np.asarray(last["eval/return"])
    seeds, episodes = returns.shape
    mean, error = returns.mean(0), returns.std(0, ddof=min(1, seeds - 1)) / seeds**0.5
    shown = [k for k in (0, 1, 2, 4, 9) if k < episodes]
    curve = " / ".join(f"{mean[k]:.1f}" for k in shown)
    oracle = last.get("eval/oracle")
    told = f"{np.mean(oracle):.1f}" if oracle is not None else "-"
    steps = int(np.max(last["env_steps"]))
    return (
        f"| [{folder.name}](results/{folder.name}) | {config['recipe']} {config['preset']} "
        f"| {seeds} | {steps:,} | {curve} | {mean[-1]:.1f} ± {error[-1]:.1f} | {told} |"
    )


def table() -> str:
    head = (
        "| run | recipe, preset | seeds | environment steps | return in episode 1 / 2 / 3 / 5 / 10 "
        "| last episode | told the task |\n|---|---|---|---|---|---|---|"
    )
    rows = [row(metrics.parent) for metrics in sorted(HERE.glob("*/metrics.jsonl"))]
    return "\n".join([head, *rows])


if __name__ == "__main__":
    readme = HERE.parent / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
