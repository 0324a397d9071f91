"""Follows log files through rename, rotation, truncation, copying and deletion. Blocks on files.

What was read is remembered by content, not by inode: a file is named by its first line, which in a
log with times is unique. So a renamed file, or a copy made before a truncation, is known wherever
it turns up, also after a restart, and an inode that is used again is a new file.
"""

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from glob import escape, glob, has_magic
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 256 * 1024
"""Read at once; a longer line is passed over."""

FIRST_READ_BYTES: Final = 16 * 1024 * 1024
FIRST_READ_FILES: Final = 2
"""How far back it goes when no position is known: the newest files, as many bytes of each."""

MAX_FILES: Final = 32
MAX_NAMES: Final = 64
GONE_S: Final = 10.0
"""A file that was renamed or deleted is read on for as long: its writer may not know yet."""

_NAME_BYTES: Final = 1024
_ARCHIVE = re.compile(r"\.\d+(?:\.[^.]*)?$")
_DATE_OR_NUMBER = re.compile(r"[-_.]?\d{4}-\d\d-\d\d|\.\d+(?=\.|$)")


class TextLine(NamedTuple):
    """A complete line. `where` is its place, the same whenever it is read again."""

    stream: str
    where: str
    text: bytes


class _File:
    """An open file. `drained` has size and time of change of when its end was reached."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.stream = _DATE_OR_NUMBER.sub("", os.path.basename(path))
        self.descriptor = descriptor
        self.is_listed = True
        self.changed_at = time.monotonic()
        self.known_name: str | None = None
        self.drained = (-1, -1)

    def stamp(self) -> tuple[int, int]:
        """Time of change and size: as long as they stay, there is nothing new."""
        found = os.fstat(self.descriptor)
        return found.st_mtime_ns, found.st_size

    def name(self) -> str | None:
        """Of stream and content: a hash of the first line. None while that is not complete."""
        start = os.pread(self.descriptor, _NAME_BYTES, 0)
        end = start.find(b"\n")
        if end < 0 and len(start) < _NAME_BYTES:
            return None
        first_line = self.stream.encode() + (start[:end] if end >= 0 else start)
        self.known_name = hashlib.blake2b(first_line, digest_size=8).hexdigest()
        return self.known_name

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size


class LogFiles:
    """The files of one pattern, or one file and its archives. For one thread."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._siblings = None
        if not has_magic(pattern):
            stem, extension = os.path.splitext(pattern)
            self._siblings = f"{escape(stem)}.*"
            self._sibling = re.compile(
                rf"{re.escape(stem)}(?:\.\d+)?{re.escape(extension)}(?:\.\d+)?"
            )
        self._files: dict[tuple[int, int], _File] = {}
        self._read_to: dict[str, tuple[int, bool]] = {}
        self._is_first_look = True
        self.long_lines = 0
        """Lines passed over because they do not fit into a chunk."""
        self.trouble: str | None = None
        """Why nothing is read, in words."""

    def dump(self) -> dict[str, Any]:
        """What was read, ready for JSON."""
        return {name: list(position) for name, position in self._read_to.items()}

    def load(self, dumped: dict[str, Any]) -> None:
        """What `dump` gave: goes on from there."""
        self._read_to = {name: (int(to), bool(skip)) for name, (to, skip) in dumped.items()}
        self._is_first_look = False

    def look(self) -> None:
        """Finds new files and those that are gone. Raises nothing."""
        found = self._find()
        for key, file in list(self._files.items()):
            file.is_listed = key in found
            if not file.is_listed and time.monotonic() - file.changed_at > GONE_S:
                self._close(key)
        new = [(key, path) for key, path in found.items() if key not in self._files]
        for position, (key, path) in enumerate(new):
            self._open(key, path, is_newest=position < FIRST_READ_FILES)
        self._is_first_look = False

    def _find(self) -> dict[tuple[int, int], str]:
        """Device and inode → path of the newest files, newest first."""
        paths = glob(self._pattern)
        if self._siblings is not None:
            paths += filter(self._sibling.fullmatch, glob(self._siblings))
        found = []
        for path in dict.fromkeys(paths):
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime_ns, path, (status.st_dev, status.st_ino)))
        found.sort(key=lambda item: (-item[0], _ARCHIVE.search(item[1]) is not None, item[1]))
        newest: dict[tuple[int, int], str] = {}
        for _, path, key in found[:MAX_FILES]:
            newest.setdefault(key, path)
        self.trouble = None if newest else f"no file matches {self._pattern}"
        return newest

    def _open(self, key: tuple[int, int], path: str, *, is_newest: bool) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self.trouble = f"{path}: {error.strerror}"
            return
        file = self._files[key] = _File(path, descriptor)
        name = file.name()
        if not self._is_first_look or name is None:
            return
        is_old = _ARCHIVE.search(path) is not None or not is_newest
        start = file.size() if is_old else max(0, file.size() - FIRST_READ_BYTES)
        self._read_to[name] = (start, 0 < start < file.size())

    def _close(self, key: tuple[int, int]) -> None:
        os.close(self._files.pop(key).descriptor)

    def close(self) -> None:
        """Closes all files; what was read stays known."""
        for key in list(self._files):
            self._close(key)

    def read(self) -> Iterator[list[TextLine]]:
        """What is new, oldest file first, a chunk at a time. Positions move before each chunk is
        given.
        """
        stamps = {file: file.stamp() for file in self._files.values()}
        changed = [file for file, stamp in stamps.items() if stamp != file.drained]
        for file in sorted(changed, key=lambda file: (stamps[file], file.path)):
            file.changed_at = time.monotonic()
            while (lines := self._read_chunk(file)) is not None:
                if lines:
                    yield lines
            file.drained = stamps[file]

    def _read_chunk(self, file: _File) -> list[TextLine] | None:
        """The complete lines of the next chunk; None when there is nothing more."""
        name = file.name()
        if name is None:
            return None
        start, is_skipping = self._read_to.get(name, (0, False))
        chunk = os.pread(file.descriptor, CHUNK_BYTES, start)
        if file.name() != name:  # truncated and begun anew just now
            return []
        if chunk[:1] == b"\0":  # a hole, left by a writer that did not notice a truncation
            return self._move(name, start + len(chunk) - len(chunk.lstrip(b"\0")), is_skipping)
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            if len(chunk) < CHUNK_BYTES:
                return None  # nothing, or a line that is not complete yet
            self.long_lines += not is_skipping
            return self._move(name, start + len(chunk), True)
        self._move(name, start + end, False)
        first = chunk.find(b"\n") + 1 if is_skipping else 0
        lines = []
        for text in chunk[first : end - 1].split(b"\n") if first < end else ():
            lines.append(TextLine(file.stream, f"{name}:{start + first}", text))
            first += len(text) + 1
        return lines

    def _move(self, name: str, to: int, is_skipping: bool) -> list[TextLine]:
        self._read_to.pop(name, None)  # the order is that of use
        self._read_to[name] = (to, is_skipping)
        if len(self._read_to) > MAX_NAMES:
            in_use = {file.known_name for file in self._files.values()}
            del self._read_to[next(old for old in self._read_to if old not in in_use)]
        return []
