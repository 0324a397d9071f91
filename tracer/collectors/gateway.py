"""Finds the process to watch: by its lock file, its listening port or its command line.

The name alone would not do: OpenClaw's gateway is often just `node dist/index.js gateway`, and our
own name holds the word that its name lacks.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tracer.collectors.cpu import TICKS_PER_S
from tracer.collectors.process_table import ProcessStat, read_command
from tracer.collectors.sockets import listeners
from tracer.kernel_files import read_bytes

LOCK_FOLDERS: Final = ("tmp", "data/tmp", "root/.openclaw/tmp", "home/*/.openclaw/tmp")
"""Below the root of the machine. The lock lies in the state folder, until early 2026 in `/tmp`."""

DEFAULT_PORT: Final = 18789
FLY_PORT: Final = 3000
"""Others like this port as well, so its listener must also look like a gateway."""

COMMAND: Final = re.compile(
    r"^(\S*/)?openclaw-gateway\b|(openclaw(\.mjs)?|dist/(index|entry)\.m?js)\s+gateway"
    r"(?!\s+(status|call|usage|stop|restart|install|uninstall|probe|health|discover|stability))"
)
SETTLED_S: Final = 60.0
"""A process gives itself another title early, or not at all: older ones are read only once."""

LEAST_AGE_S: Final = 10.0
"""Commands that ask a gateway something look like one, but are gone by then."""


class Found(NamedTuple):
    """`lock` is the file it holds; removed when it leaves in good order. `port` where known."""

    process: ProcessStat
    lock: Path | None = None
    port: int | None = None


Table = Mapping[int, ProcessStat]


class GatewayFinder:
    """`watch` is `auto`, `pid:FILE`, `port:N` or a regular expression on the command line."""

    def __init__(
        self,
        root: Path,
        watch: str,
        *,
        state_folder: Path | None = None,
        own_pids: Callable[[], Sequence[int]] = lambda: (os.getpid(), os.getppid()),
        uptime_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._root = root
        self._watch = watch
        self._patterns = [f"{folder}/openclaw-*/gateway.*.lock" for folder in LOCK_FOLDERS]
        self._state_folder = state_folder
        self._own_pids = own_pids
        self._uptime_s = uptime_s
        self.found: Found | None = None
        """As of the last `find`."""
        self.has_hidden_listener = False
        """Whether somebody listens on the port, and we may not see who: not found is not down."""
        self._unowned: dict[int, set[str]] = {}
        self._others: set[tuple[int, int]] = set()

    def find(self, table: Table) -> Found | None:
        """The running gateway. One that was found is kept as long as it runs, unless lock or pid
        file name another.
        """
        self.has_hidden_listener = False
        own = self._own_pids()
        others = {p: s for p, s in table.items() if not s.is_zombie and p not in own}
        self.found = self._named(others) or self._again(others) or self._search(others)
        return self.found

    def _again(self, table: Table) -> Found | None:
        if self.found is None:
            return None
        process = table.get(self.found.process.pid)
        if process is None or process.identity != self.found.process.identity:
            return None
        return self.found._replace(process=process)

    def _named(self, table: Table) -> Found | None:
        """By a file that names its pid."""
        if self._watch.startswith("pid:"):
            content = (read_bytes(Path(self._watch[4:])) or b"").split()
            is_pid = bool(content) and content[0].isdigit() and len(content[0]) < 12
            process = table.get(int(content[0])) if is_pid else None
            return Found(process) if process else None
        return self._locked(table) if self._watch == "auto" else None

    def _search(self, table: Table) -> Found | None:
        if self._watch.startswith("pid:"):
            return None
        if self._watch.startswith("port:"):
            port = int(self._watch[5:])
            return self._listener(port, listeners(self._root), table)
        if self._watch != "auto":
            return self._by_command(table, re.compile(self._watch), least_age_s=0)
        ports = listeners(self._root)
        return (
            self._listener(DEFAULT_PORT, ports, table)
            or self._listener(FLY_PORT, ports, table, must_match=COMMAND)
            or self._by_command(table, COMMAND, least_age_s=LEAST_AGE_S)
        )

    def _locked(self, table: Table) -> Found | None:
        """By the newest lock whose process still runs. One of a killed gateway stays behind."""
        candidates = []
        for path in self._locks():
            try:
                lock = msgspec.json.decode(read_bytes(path) or b"", type=dict[str, Any])
                process = table.get(lock["pid"])
            except (msgspec.DecodeError, KeyError, TypeError):
                continue
            if process is not None and self._is_holder(process, lock.get("startTime")):
                port = lock.get("port")
                found = Found(process, path, port if isinstance(port, int) else None)
                candidates.append((process.start_ticks, found))
        return max(candidates, key=lambda pair: pair[0])[1] if candidates else None

    def _locks(self) -> Iterator[Path]:
        places = [(self._root, pattern) for pattern in self._patterns]
        if self._state_folder is not None:
            places.append((self._state_folder, "tmp/openclaw-*/gateway.*.lock"))
        for folder, pattern in places:
            try:
                yield from folder.glob(pattern)
            except OSError:
                continue  # a folder on a dead mount, or not for us

    def _is_holder(self, process: ProcessStat, start_ticks: object) -> bool:
        if start_ticks is not None:
            return str(start_ticks) == str(process.start_ticks)
        return COMMAND.search(self._command(process.pid)) is not None

    def _listener(
        self,
        port: int,
        ports: Mapping[int, set[str]],
        table: Table,
        must_match: re.Pattern[str] | None = None,
    ) -> Found | None:
        """The process that holds the listening socket; needs its user or root."""
        sockets = ports.get(port)
        if not sockets:
            return None
        self.has_hidden_listener = must_match is None
        if self._unowned.get(port) == sockets:
            return None
        self._unowned[port] = sockets  # to look through all open files once is enough
        for pid, process in table.items():
            if must_match is not None and not must_match.search(self._command(pid)):
                continue
            if sockets & self._open_files(pid):
                del self._unowned[port]
                self.has_hidden_listener = False
                return Found(process, port=port if self._watch == "auto" else None)
        return None

    def _open_files(self, pid: int) -> set[str]:
        links = set()
        try:
            for path in (self._root / f"proc/{pid}/fd").iterdir():
                links.add(str(path.readlink()))
        except OSError:
            pass  # not ours to see, or just closed
        return links

    def _by_command(
        self, table: Table, pattern: re.Pattern[str], *, least_age_s: float
    ) -> Found | None:
        """The oldest match that has no match among its children: launchers repeat the command."""
        now_ticks = self._uptime_s() * TICKS_PER_S
        matches = []
        seen = set()
        for pid, process in table.items():
            age_s = (now_ticks - process.start_ticks) / TICKS_PER_S
            if age_s < least_age_s:
                continue
            if process.identity in self._others or not pattern.search(self._command(pid)):
                if age_s > SETTLED_S:
                    seen.add(process.identity)
            else:
                matches.append(process)
        self._others = seen
        parents = {process.ppid for process in matches}
        leaves = [process for process in matches if process.pid not in parents]
        oldest = min(leaves, key=lambda process: process.start_ticks, default=None)
        return Found(oldest) if oldest else None

    def _command(self, pid: int) -> str:
        return " ".join(read_command(self._root, pid))
