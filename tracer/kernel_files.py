"""Reads the small text files of `/proc` and `/sys`. What cannot be read is None, and never 0."""

import os
from pathlib import Path
from typing import Final

READ_BYTES: Final = 8192
"""The kernel hands out most of these files by pages."""

MAX_BYTES: Final = 4 * 2**20
"""Far more than any of them has."""


def read_bytes(path: Path) -> bytes | None:
    """The whole file, or None: missing, forbidden, or not supported by this kernel.

    Neither a pipe nor an endless device, put where a file is expected, can hold it up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        content = bytearray()
        while len(content) < MAX_BYTES and (part := os.read(descriptor, READ_BYTES)):
            content += part
        return bytes(content)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str | None:
    """The same as text."""
    content = read_bytes(path)
    return None if content is None else content.decode(errors="replace")


def read_number(path: Path) -> int | None:
    """A file with one number; None for `max`, an empty file and anything else."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def read_pairs(path: Path) -> dict[str, int]:
    """Lines of a name and a number, such as `memory.stat`; `:` and units are read over."""
    pairs = {}
    for line in (read_text(path) or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[1].isdecimal() and words[1].isascii():
            pairs[words[0]] = int(words[1])
    return pairs
