"""Where a run comes from: the command, the code and the machine, as config.json keeps them."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def provenance(argv: list[str]) -> dict[str, Any]:
    """What was typed, which code ran, and on what."""
    import jax

    import metablocks

    return {
        "command": recorded(argv),
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "metablocks": version(),
            "commit": commit(Path(metablocks.__file__).parent),
        },
        "device": device(),
    }


def device() -> str:
    """What computes."""
    import jax

    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"


def version() -> str:
    """The installed metablocks."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("metablocks")
    except PackageNotFoundError:
        return "unknown"


def commit(source: Path) -> str | None:
    """The git commit of the source, where it is a checkout; `-dirty` if it was changed since."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(asked, cwd=source, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def program_name() -> str:
    """The recipe as it was called."""
    return sys.argv[0] or "recipe.py"


def recorded(argv: list[str]) -> str:
    """The command as a record keeps it, which names no machine's interpreter."""
    return shlex.join(["python", program_name(), *argv])


def command(argv: list[str]) -> str:
    """A line that can be pasted into a shell."""
    same = os.path.abspath(shutil.which("python") or "") == os.path.abspath(sys.executable)
    return shlex.join(["python" if same else sys.executable, program_name(), *argv])
