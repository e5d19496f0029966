"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere."""

import os
import sys
from typing import Any


def tell(line: str) -> None:
    """One line on stdout. A reader that has gone, or a full disk, must not cost the run."""
    try:
        print(line, flush=True)
    except OSError:
        hush()


def hush() -> None:
    """Sends what is still to be said nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def duration(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def figure(value: float) -> str:
    """A return in three or so digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def adaptation(returns: list[float], oracle: float | None) -> str:
    """The return after each episode of adaptation, first to last: 0.6 → 2.3 → … → 9.4."""
    shown = [figure(r) for r in returns]
    if len(shown) > 5:
        shown = [*shown[:3], "…", shown[-1]]
    bound = "" if oracle is None else f" (oracle {figure(oracle)})"
    return "return " + " → ".join(shown) + bound


class Progress:
    """Shows the updates done, the speed, and the latest evaluation."""

    def __init__(self, total: int):
        self.total, self.speed, self.live = total, None, None
        if sys.stdout.isatty():
            self.draw()

    def draw(self) -> None:
        """For terminals: a bar, and under it the latest evaluation."""
        from rich import console, live, progress, text

        self.bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[speed]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("[dim]left"),
            progress.TimeRemainingColumn(compact=True),
        )
        self.task = self.bar.add_task("starting", total=self.total, speed="")
        self.returns = text.Text("", style="green")
        self.live = live.Live(console.Group(self.bar, self.returns), refresh_per_second=4)
        self.live.start()

    def say(self, line: str) -> None:
        """One line of its own."""
        if self.live:
            self.live.console.print(line, highlight=False, markup=False)
        else:
            tell(line)

    def doing(self, what: str) -> None:
        """What takes the time just now."""
        if self.live:
            self.bar.update(self.task, description=what)
        elif what == "compiling":
            self.say("compiling ...")

    def advanced(self, update: int, seconds: float, steps: int) -> None:
        """A chunk has been trained: `steps` environment steps in `seconds`."""
        self.speed = steps / max(seconds, 1e-9)
        if self.live:
            self.bar.update(self.task, completed=update, speed=f"{self.speed:,.0f} steps/s")

    def evaluated(self, line: dict[str, Any], returns: list[float], oracle: float | None) -> None:
        """An evaluation has been made."""
        text = adaptation(returns, oracle)
        if self.live:
            self.bar.update(self.task, completed=line["update"])
            self.returns.plain = f"update {line['update']} · {text}"
            return
        speed = "" if self.speed is None else f" · {self.speed:,.0f} steps/s"
        self.say(
            f"update {line['update']}/{self.total} · {line['env_steps']:,} env steps{speed} · "
            f"{duration(line['wall_s'])} · {text}"
        )

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self.live:
            self.live.stop()
            self.live = None
