"""Keeps what is claimed of a run: python results/record.py RUN_DIR NAME

Copies the command, configuration and device (config.json), the metrics and the pictures into
results/NAME, small enough to commit.
"""

import json
import shutil
import sys
from pathlib import Path

KEPT = ("config.json", "metrics.jsonl", "summary.json")
PICTURES = ("curve.png", "trajectories.png", "beliefs.png")


def finished(run: Path) -> bool:
    """Whether the summary is of the last evaluation: a run that goes on still has its old one."""
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return json.loads((run / "summary.json").read_text())["final_return"] == last["eval/return"]


def record(run: Path, name: str) -> Path:
    target = Path(__file__).parent / name
    missing = [file for file in KEPT if not (run / file).exists()]
    if missing:
        sys.exit(f"error: {run} has no {missing[0]}: give the folder of a finished run")
    if not finished(run):
        sys.exit(
            f"error: summary.json of {run} is not of its last evaluation: wait until the run has "
            "ended, or go on with it by --resume"
        )
    target.mkdir(exist_ok=True)
    for file in KEPT:
        text = (run / file).read_text()
        (target / file).write_text(text.replace(str(run.resolve().parent) + "/", "runs/"))
    for file in PICTURES:
        if (run / file).exists():
            shutil.copy(run / file, target / file)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python results/record.py RUN_DIR NAME")
    print(record(Path(sys.argv[1]), sys.argv[2]))
