"""Watches the gateway from outside: it runs, ended, came back. One report for each end."""

import logging
import signal
from collections.abc import Callable
from typing import Any

from tracer.collectors.gateway import Found
from tracer.collectors.process_table import PAGE_BYTES, ProcessStat, ProcessTable
from tracer.collectors.processes import boot_at_ms, started_at
from tracer.reporter import Report
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)


class Watch:
    """States: not seen, running, ended. `restarts` counts the new beginnings of one that ran."""

    def __init__(self, now_ms: Callable[[], int] = now_ms) -> None:
        self.restarts = 0
        self._now_ms = now_ms
        self._running: Found | None = None
        self._last_seen_at = 0
        self._ended = False
        self._uptime_ms: int | None = None

    def observe(
        self,
        table: ProcessTable,
        found: Found | None,
        *,
        oom_kills: int | None = None,
        uptime_ms: int | None = None,
    ) -> Report | None:
        """Compares with the last pass; what to report, if the gateway has ended without order.

        `oom_kills`: by how much the kernel's counter moved since then; `uptime_ms`: what the
        gateway itself says, which begins anew when it restarts within the same process.
        """
        before, report = self._running, None
        is_same = before is not None and found is not None and _identity(before) == _identity(found)
        if before is not None and not is_same:
            report = self._ending(before, table, found, oom_kills)
        if found is not None and not is_same:
            self.restarts += before is not None or self._ended
            log.info("gateway: watching %s", _describe(found.process))
        elif found is not None and None not in (uptime_ms, self._uptime_ms):
            self.restarts += (uptime_ms or 0) < (self._uptime_ms or 0)
        self._ended = found is None and (self._ended or before is not None)
        if not is_same or uptime_ms is not None:
            self._uptime_ms = uptime_ms
        self._running = found
        self._last_seen_at = self._now_ms() if found else self._last_seen_at
        return report

    def _ending(
        self, before: Found, table: ProcessTable, successor: Found | None, oom_kills: int | None
    ) -> Report | None:
        process = before.process
        current = table.processes.get(process.pid)
        if current is not None and current.start_ticks != process.start_ticks:
            current = None  # its pid is another's now
        if current is not None and not current.is_zombie:
            log.info("gateway: %s runs on, but is no longer the one", _describe(process))
            return None
        if current is None and successor is None and before.lock and not before.lock.exists():
            log.info("gateway: %s ended and took its lock with it", _describe(process))
            return None
        metadata: dict[str, Any] = {
            "pid": process.pid,
            "name": process.name,
            "end": "zombie" if current else "vanished",
            "started_at": started_at(process, boot_at_ms()),
            "last_seen_at": self._last_seen_at,
            "rss_bytes": process.rss_pages * PAGE_BYTES,
            "threads": process.threads,
            "oom_kills": oom_kills,
        }
        if current is not None and current.exit_code:
            metadata |= _exit(current.exit_code)
        if successor is not None:
            metadata["successor_pid"] = successor.process.pid
        how = "became a zombie" if current else "vanished"
        hint = "; the kernel killed for lack of memory at that time" if oom_kills else ""
        return Report(
            "crash",
            "process_crash",
            f"the gateway, {_describe(process)}, {how}{hint}",
            "critical",
            {name: value for name, value in metadata.items() if value is not None},
        )


def _identity(found: Found) -> tuple[int, int]:
    return found.process.identity


def _describe(process: ProcessStat) -> str:
    return f"process {process.pid} ({process.name})"


def _exit(code: int) -> dict[str, Any]:
    """What wait(2) says."""
    number = code & 0x7F
    if not number:
        return {"exit_status": code >> 8}
    try:
        return {"exit_signal": signal.Signals(number).name}
    except ValueError:
        return {"exit_signal": number}
