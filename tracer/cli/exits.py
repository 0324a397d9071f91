"""How the command ends."""

from enum import IntEnum
from typing import Final

from tracer.errors import TracerError


class Exit(IntEnum):
    """The exit codes. The closed list."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOTHING_THERE = 3
    INTERRUPTED = 130


EXIT_CODES: Final = {
    Exit.OK: "done; the sidecar is healthy; all checks passed",
    Exit.FAILED: "it did not work; the sidecar is degraded; a check failed",
    Exit.USAGE: "unknown option, or a setting that cannot be read",
    Exit.NOTHING_THERE: "no sidecar answers, or there is no database",
    Exit.INTERRUPTED: "ended by Ctrl-C, the usual end of `tail`; what was done is kept",
}
"""What each means, for `--help` and the README."""


class NothingThereError(TracerError):
    """No sidecar, or no database, to work on; the text says where it was looked for."""
