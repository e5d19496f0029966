"""Where a run stands: its state in memory, and its steps in time."""

import shutil
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metablocks.experiment import checkpoint, program, scenery
from metablocks.experiment.errors import RunFailed
from metablocks.experiment.folder import cut_back, read_lines, updates, write_json
from metablocks.experiment.log import Clock, Log, plain
from metablocks.experiment.progress import Progress


class Outcome(NamedTuple):
    """What a finished run hands back."""

    theta: Any
    """The trained meta-parameters, with a leading seed axis if there were several seeds."""
    lines: list[dict[str, Any]]
    """The evaluations, as in metrics.jsonl."""
    summary: dict[str, Any]


class Session:
    """Where a run stands, and its steps in time."""

    def __init__(self, learner, agent, benchmark, cfg, folder, seed, seeds, save_interval_s):
        self.benchmark, self.cfg, self.folder, self.seed = benchmark, cfg, folder, seed
        self.blocks = (learner, agent, benchmark)
        self.seeds = jnp.arange(seed, seed + seeds, dtype=jnp.int32)
        self.save_interval_s, self.saved_at = save_interval_s, time.monotonic()
        self.clock, self.update, self.evaluated = Clock(), 0, -1
        self.saved: tuple[int, int] | None = None
        self.best: float | None = None
        self.best_theta: tuple[int, Any] | None = None
        self.oracle: np.ndarray | None = None
        self.paths: np.ndarray | None = None
        self.log: Log | None = None
        self.progress: Progress | None = None

    def begin(self) -> None:
        """Compiles, and starts or goes on from the newest checkpoint."""
        self.progress = Progress(self.cfg.num_updates)
        self.progress.doing("compiling")
        with self.clock.on("compilation"):
            self.program = program.compiled(*self.blocks, self.cfg, len(self.seeds))
        self.progress.doing("starting")
        found = checkpoint.restore(self.folder / "checkpoints", self.program.like)
        if found is None:
            with self.clock.on("start"):
                self.carry = jax.block_until_ready(self.program.start(self.seeds))
            self.start_over()
        else:
            self.go_on(*found)
        self.log = Log(self.folder, after=self.evaluated)
        if self.program.oracle:
            with self.clock.on("evaluation"):
                self.oracle = np.asarray(self.program.oracle(self.seeds))
        self.progress.doing("training")

    def start_over(self) -> None:
        """Drops what a run left that was killed before its first checkpoint."""
        assert self.progress is not None
        lines, best = self.folder / "metrics.jsonl", self.folder / "best"
        if read_lines(lines) or best.exists():
            self.progress.say("no checkpoint to go on from: starting over")
        cut_back(lines, -1)
        shutil.rmtree(best, ignore_errors=True)

    def go_on(self, carry: program.Carry, meta: dict[str, Any]) -> None:
        """Takes over from a checkpoint."""
        self.carry, self.update = carry, int(carry.update)
        self.evaluated, self.best = meta["evaluated"], meta["best"]
        self.saved = (self.update, self.evaluated)
        here = self.clock
        spent = {
            k: here.spent.get(k, 0) + meta["spent"].get(k, 0) for k in here.spent | meta["spent"]
        }
        self.clock = Clock(spent, meta["wall_s"] + here.wall_s)
        cut_back(self.folder / "metrics.jsonl", self.evaluated)
        assert self.progress is not None
        self.progress.say(f"going on from update {self.update}")

    def due(self, update: int) -> bool:
        """Whether there is an evaluation at this update."""
        return update % self.cfg.eval_every == 0 or update == self.cfg.num_updates

    def next_due(self) -> int:
        """The update of the next evaluation."""
        every = self.cfg.eval_every
        return min((self.update // every + 1) * every, self.cfg.num_updates)

    def advance(self, stop: int) -> float:
        """Trains up to update `stop`; returns the seconds it took."""
        assert self.progress is not None
        before = self.env_steps()
        began = time.monotonic()
        with self.clock.on("training"):
            self.carry = self.program.advance(self.carry, jnp.int32(stop), self.seeds)
            self.update = int(self.carry.update)
        seconds = time.monotonic() - began
        if not bool(self.carry.finite):
            self.fail_metrics()
        steps = (self.env_steps() - before) * len(self.seeds)
        self.progress.advanced(self.update, seconds, steps)
        return seconds

    def env_steps(self) -> int:
        """Environment steps of one seed so far."""
        return int(np.max(self.carry.last["env_steps"]))

    def evaluate(self) -> None:
        """Meta-tests, writes the line, and notes the best theta."""
        assert self.log is not None and self.progress is not None
        with self.clock.on("evaluation"):
            result = self.program.evaluate(
                self.carry.state.theta, self.seeds, jnp.int32(self.update)
            )
            returns = np.asarray(result.returns)
            self.paths = None if result.paths is None else np.asarray(result.paths)
        if not np.isfinite(returns).all():
            self.fail("eval/return", self.update, np.isnan(returns.sum(axis=1) * 0))
        with self.clock.on("logging"):
            line = self.line(result)
            self.log.write(line)
            bound = None if self.oracle is None else float(self.oracle.mean())
            self.progress.evaluated(line, plain(returns.mean(axis=0)), bound)
        final = float(returns[:, -1].mean())
        if self.best is None or final > self.best:
            self.best = final
            self.best_theta = (self.update, jax.device_get(self.carry.state.theta))
        self.evaluated = self.update
        self.carry = self.carry._replace(sums=jax.tree.map(jnp.zeros_like, self.carry.sums))

    def line(self, result: program.Evaluation) -> dict[str, Any]:
        """One line of metrics.jsonl."""
        last = jax.device_get(self.carry.last)
        line = {
            "update": self.update,
            **{name: int(np.max(last[name])) for name in program.COUNTERS},
            "wall_s": round(self.clock.wall_s, 3),
        }
        count = self.update - max(self.evaluated, 0)
        if count:
            sums = jax.device_get(self.carry.sums)
            line |= {name: plain(total / np.float32(count)) for name, total in sums.items()}
        line |= {
            "eval/return": plain(result.returns),
            "eval/return_stderr": plain(result.stderr),
            "eval/return_worst": plain(result.worst),
        }
        bayes = self.benchmark.bayes
        if bayes is not None and len(bayes) == result.returns.shape[-1]:
            line |= {"eval/bayes": list(bayes)}
        return line if self.oracle is None else line | {"eval/oracle": plain(self.oracle)}

    def save_if_due(self) -> None:
        """A checkpoint, if the last one is long enough ago or training is over."""
        late = time.monotonic() - self.saved_at >= self.save_interval_s
        if late or self.update >= self.cfg.num_updates:
            self.save()

    def save(self) -> None:
        """A checkpoint of everything the run needs to go on, and of the best theta until now."""
        if self.saved == (self.update, self.evaluated):
            return
        assert self.log is not None
        with self.clock.on("checkpoints"):
            bad = np.asarray(self.program.damaged(self.carry.state))
            if bad.any():
                leaf = int(bad.any(axis=1).argmax())
                name = program.leaf_names(self.program.like.state)[leaf]
                self.fail(f"state {name}", self.update, bad[leaf])
            self.log.sync()
            if self.best_theta:
                update, theta = self.best_theta
                notes = {"update": update, "return": self.best}
                checkpoint.save(self.folder / "best", update, theta, notes, keep=1)
                self.best_theta = None
            meta = {"evaluated": self.evaluated, "best": self.best}
            meta |= {"wall_s": self.clock.wall_s, "spent": self.clock.spent}
            checkpoint.save(self.folder / "checkpoints", self.update, self.carry, meta, keep=2)
        self.saved, self.saved_at = (self.update, self.evaluated), time.monotonic()

    def finish(self) -> Outcome:
        """The pictures and the summary."""
        from metablocks.experiment import plot

        assert self.progress is not None
        if self.paths is None:  # resumed after the last evaluation
            result = self.program.evaluate(
                self.carry.state.theta, self.seeds, jnp.int32(self.update)
            )
            self.paths = None if result.paths is None else np.asarray(result.paths)
        lines = read_lines(self.folder / "metrics.jsonl")
        with self.clock.on("pictures"):
            unit = "round" if hasattr(self.cfg, "eval_shots") else "episode"
            plot.curve(self.folder / "curve.png", lines, unit=unit)
            if self.paths is not None:
                marks = scenery.marks(self.benchmark, self.cfg, self.seed)
                plot.trajectories(self.folder / "trajectories.png", self.paths, marks, unit=unit)
                theta = self.carry.state.theta
                first = theta if len(self.seeds) == 1 else jax.tree.map(lambda x: x[0], theta)
                believed = scenery.beliefs(*self.blocks[1:], self.cfg, first, self.seed)
                if believed is not None:
                    plot.beliefs(self.folder / "beliefs.png", believed, marks.goals)
        summary = {
            "wall_s": round(self.clock.wall_s, 3),
            "seconds": {k: round(v, 3) for k, v in self.clock.spent.items()},
            "shares": {k: round(v, 4) for k, v in self.clock.shares().items()},
            "final_return": lines[-1]["eval/return"],
            "best_return": self.best,
        }
        write_json(self.folder / "summary.json", summary)
        return Outcome(self.carry.state.theta, lines, summary)

    def fail_metrics(self) -> None:
        """Names the first metric of the last update that is not finite."""
        for name, value in jax.device_get(self.carry.last).items():
            if not np.isfinite(value).all():
                self.fail(name, self.update - 1, ~np.isfinite(value))

    def fail(self, name: str, update: int, bad: np.ndarray) -> None:
        """Ends the run; what was saved stays."""
        seed = self.seed + int(bad.argmax())
        kept = updates(self.folder / "checkpoints")
        place = f"the last good checkpoint is of update {kept[0]}" if kept else "nothing was saved"
        raise RunFailed(
            f"{name} is not finite at update {update} of seed {seed}: {place} in {self.folder}; "
            "lower a step size, or change what makes it overflow, and start a new run"
        )

    def close(self) -> None:
        """Leaves files and terminal in order."""
        if self.log:
            self.log.close()
        if self.progress:
            self.progress.close()
