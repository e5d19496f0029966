"""The run: train, evaluate, log and save, in time, and go on after an interruption.

Everything that must survive is in the checkpoint (state, running sums of the metrics, best return,
time spent); update i draws its key from i. So a run that was killed ends as if it had not been,
bit for bit (`wall_s` apart), on a device that computes the same thing twice the same way.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from metablocks.experiment import program
from metablocks.experiment.errors import Interrupted
from metablocks.experiment.progress import tell
from metablocks.experiment.session import Outcome, Session
from metablocks.types import Agent, Benchmark, Learner


def run(
    learner: Learner,
    agent: Agent,
    benchmark: Benchmark,
    cfg: Any,
    *,
    folder: Path,
    seed: int = 0,
    seeds: int = 1,
    save_interval_s: float = 30.0,
    chunk_s: float = 1.0,
    max_chunk: int = 1_000_000,
) -> Outcome:
    """Trains `cfg.num_updates` updates of `seeds` seeds into `folder`, or what is left of them.

    Raises `RunFailed` when a number stops being finite (the last good checkpoint stays) and
    `Interrupted` on SIGINT or SIGTERM, after saving.
    """
    program.cache_compilations()
    session = Session(learner, agent, benchmark, cfg, folder, seed, seeds, save_interval_s)
    try:
        with interruptible() as asked:
            session.begin()
            train(session, asked, chunk_s, max_chunk)
            return session.finish()
    finally:
        session.close()


def train(session: Session, asked: list[int], chunk_s: float, max_chunk: int) -> None:
    """Chunks of updates of about `chunk_s` seconds, with evaluations and saves between them."""
    chunk, end = 1, session.cfg.num_updates
    while True:
        if session.due(session.update) and session.evaluated < session.update:
            session.evaluate()
            session.save_if_due()
        if asked:
            session.save()
            raise Interrupted
        if session.update >= end:
            return
        target = min(session.update + min(chunk, max_chunk), session.next_due())
        begun, seconds = session.update, session.advance(target)
        done = max(session.update - begun, 1)
        chunk = max(1, min(int(done * chunk_s / max(seconds, 1e-6)), 4 * chunk))


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Notes SIGINT and SIGTERM for the loop to see; a second one is not caught."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        del frame
        asked.append(number)
        for name in before:
            signal.signal(name, before[name])
        with suppress(RuntimeError):  # the signal came while another line was being written
            tell("stopping as soon as what is being computed is done; again to stop now")

    try:
        before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
        for name in before:
            signal.signal(name, note)
    except ValueError:  # not the main thread: signals are someone else's
        before = {}
    try:
        yield asked
    finally:
        for name in before:
            signal.signal(name, before[name])
