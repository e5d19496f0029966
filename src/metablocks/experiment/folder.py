"""The run folder: made once, never overwritten, one process at a time."""

import json
import os
import time
from pathlib import Path
from typing import Any

from metablocks.experiment.errors import UserError

KINDS = {"recipe": str, "preset": str, "config": dict, "seed": int, "seeds": int}
"""What a config.json must say, and of which type."""


def fresh_name(recipe: str, preset: str) -> Path:
    """`runs/<recipe>-<preset>-<time>`, with a counter if that one is taken."""
    base = Path("runs") / f"{recipe}-{preset}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = base, 1
    while path.exists():
        count += 1
        path = base.with_name(f"{base.name}-{count}")
    return path


def create(path: Path) -> Path:
    """An empty folder to write into; refuses one with something in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
        probe = path / ".lock"
        if not taken:
            probe.touch()
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"--out {path}: expected a folder, found a file in its place; give another"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"--out {path}: cannot write there ({reason}); give a folder that can be written"
        ) from None
    if taken:
        raise UserError(
            f"--out {path}: the folder is not empty and runs are never overwritten; give another"
            + (f", or go on with it: --resume {path}" if resumable(path) else "")
        )
    return path


def updates(root: Path) -> list[int]:
    """The updates that have a checkpoint under `root`, newest first."""
    names = [p.name for p in root.glob("*") if p.is_dir() and p.name.isdigit()]
    return sorted(map(int, names), reverse=True)


def resumable(path: Path) -> bool:
    """Whether a run can go on there, or start over where it was killed before its first save."""
    try:
        read_config(path)
    except UserError:
        return False
    return not (path / "summary.json").exists() or bool(updates(path / "checkpoints"))


def discard(path: Path) -> None:
    """Takes back a folder in which nothing was begun: one with nothing else than a run's head."""
    if {file.name for file in path.iterdir()} <= {".lock", "config.json"}:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


def lock(path: Path) -> Any:
    """Holds the folder for this process until it ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes in one run folder are then the user's to avoid
        return None
    try:
        handle = (path / ".lock").open("a")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path}: cannot write there ({reason}); make the run folder writable"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(
            f"{path}: another process is running in this folder; wait for it or stop it"
        ) from None
    return handle


def write_json(path: Path, content: Any) -> None:
    """The whole file or nothing, also when the process is killed."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("w") as file:
        file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """A run folder's config.json: its recipe, preset, config, seed, seeds, command and versions.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        what = "a file, expected a run folder" if path.exists() else "no such run folder"
        raise UserError(f"{path}: {what}; give one that a run printed")
    try:
        content = json.loads((path / "config.json").read_text())
        wrong = [name for name, kind in KINDS.items() if not isinstance(content[name], kind)]
        if wrong or content["seeds"] < 1:
            raise TypeError((wrong or ["seeds"])[0])
        return content
    except FileNotFoundError:
        raise UserError(
            f"{path}: not a run folder (no config.json); give one that a run printed"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its config.json cannot be read ({type(error).__name__}: {error}); "
            "restore that file or start a new run"
        ) from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a metrics.jsonl; a last line that a kill cut short is left out."""
    lines = []
    if path.exists():
        for text in path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines


def cut_back(path: Path, update: int) -> None:
    """Drops what was logged after the update that a run goes on from."""
    kept = [line for line in read_lines(path) if line["update"] <= update]
    draft = path.with_name(path.name + ".tmp")
    draft.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in kept))
    draft.replace(path)
