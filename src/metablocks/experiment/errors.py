"""How a run ends otherwise than well: one line for the user and an exit status."""

import sys


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
