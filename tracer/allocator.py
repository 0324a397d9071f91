"""Tells the C library to give memory back: what a large request took must not stay for good."""

import contextlib
import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
LARGE_BYTES: Final = 128 * 1024


def keep_small() -> None:
    """Sets three options of `mallopt(3)`. Does nothing where the C library is not GNU's.

    One arena for all threads, since a thread's own keeps what it once had; blocks from
    `LARGE_BYTES` on have their own mapping, which ends when they are freed. Left alone, the C
    library raises that limit to 32 MB after the first large block.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)
