"""What a run leaves to read: metrics.jsonl, TensorBoard events, and the time it all took."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Arrays as lists and numbers, float32 in its own shortest digits (0.1, not 0.10000000149)."""
    array = np.asarray(value)
    if array.ndim:
        return [plain(row) for row in array]
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return int(array)
    return float(str(array.astype(np.float64 if array.dtype == np.float64 else np.float32)))


class Log:
    """Appends one strict-JSON line per evaluation, and the same numbers to TensorBoard."""

    def __init__(self, folder: Path, *, after: int):
        import tensorboardX

        self.path = folder / "metrics.jsonl"
        # `purge_step` hides what a killed run had shown after the update it goes on from.
        place = str(folder / "tensorboard")
        self.board = tensorboardX.SummaryWriter(place, purge_step=after + 1)

    def write(self, line: dict[str, Any]) -> None:
        """One evaluation."""
        with self.path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for name, value in line.items():
            if name == "update" or value is None:
                continue
            mean = np.atleast_1d(value).mean(axis=0)
            if mean.ndim:
                for episode, number in enumerate(mean):
                    self.board.add_scalar(f"{name}/episode_{episode}", number, line["update"])
            else:
                tag = name if "/" in name else f"train/{name}"
                self.board.add_scalar(tag, mean, line["update"])

    def sync(self) -> None:
        """Waits until every line is on the disk: a checkpoint must not be ahead of them."""
        self.board.flush()
        if self.path.exists():
            with self.path.open("a") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Ends the event file."""
        self.board.close()


class Clock:
    """Wall time, by what it was spent on; goes on where a resumed run's stopped."""

    def __init__(self, spent: dict[str, float] | None = None, wall_s: float = 0.0):
        self.spent = dict(spent or {})
        self.began = time.monotonic() - wall_s

    @property
    def wall_s(self) -> float:
        """Seconds since the run's start, the time between an end and a resume left out."""
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Counts the block's time as spent on `what`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + time.monotonic() - began

    def shares(self) -> dict[str, float]:
        """Each activity's part of the wall time."""
        wall = max(self.wall_s, 1e-9)
        return {what: seconds / wall for what, seconds in self.spent.items()}
