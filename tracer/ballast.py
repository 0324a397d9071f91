"""A file that only takes up space: given up when the volume is full, so that deleting can begin.

SQLite cannot delete a row without a few pages to write to.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from tracer import volume

KEPT_LOG_BYTES: Final = 4 << 20
"""What the write-ahead log keeps of the volume, though an eighth of a tiny one at most. Inside it
rows can be written and deleted even when no byte is free.
"""


def kept_log_bytes(folder: Path) -> int:
    """That, for this volume; without an answer of the kernel the full size."""
    with contextlib.suppress(OSError):
        return min(KEPT_LOG_BYTES, volume.size_bytes(folder) // 8)
    return KEPT_LOG_BYTES


class Ballast:
    """`<database>.ballast`. Its methods never raise: without it the store works all the same."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".ballast")

    @property
    def size_bytes(self) -> int:
        """A quarter more than the log: all of that may have to be copied into the database."""
        return kept_log_bytes(self._path.parent) * 5 // 4

    def is_held(self) -> bool:
        """Whether it is there, whole."""
        try:
            return self._path.stat().st_size >= self.size_bytes
        except OSError:
            return False

    def release(self) -> None:
        """Gives its space back to the volume."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def release_if_full(self) -> None:
        """Before the database is opened: that needs a few pages too."""
        with contextlib.suppress(OSError):
            if volume.free_bytes(self._path.parent) < volume.LITTLE_SPACE_BYTES:
                self.release()

    def take(self) -> None:
        """Takes its space, really allocated, unless that would leave less than as much again."""
        if self.is_held():
            return
        try:
            if volume.free_bytes(self._path.parent) < 2 * self.size_bytes:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
