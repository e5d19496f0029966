"""How a run ends otherwise than well: one line for the user and an exit status."""

import sys
from pathlib import Path


class UserError(Exception):
    """Something the user gave cannot be: the line says what, what was expected, what to do."""

    status = 2


class RunFailed(Exception):
    """The numbers of a run stopped being numbers."""

    status = 1


class Interrupted(Exception):
    """The run was asked to stop, and saved itself first."""

    status = 130


def warn(line: str) -> None:
    """One line on stderr; the run goes on."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def explained(error: BaseException) -> str | None:
    """One line for what the user's numbers brought about; nothing where it is not that."""
    if isinstance(error, OverflowError) or "RESOURCE_EXHAUSTED" in str(error):
        return "this does not fit into memory: lower a batch, a width, --seeds or --eval-tasks"
    if isinstance(error, ValueError) and raised_by_a_block(error):
        return str(error).splitlines()[0]
    return None


def raised_by_a_block(error: BaseException) -> bool:
    """Whether a line of this package raised it, a block's word on a number, and no library."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    package = Path(__file__).parents[1]
    return frame is not None and package in Path(frame.tb_frame.f_code.co_filename).parents
