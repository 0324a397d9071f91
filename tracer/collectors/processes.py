"""The processes: how many, the heaviest few, the zombies, and the gateway among them."""

import time
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from pathlib import Path
from typing import Any, Final

from tracer.collectors.base import Reading, percent
from tracer.collectors.cpu import TICKS_PER_S
from tracer.collectors.gateway import GatewayFinder
from tracer.collectors.process_table import (
    PAGE_BYTES,
    ProcessStat,
    ProcessTable,
    read_command,
    read_table,
)

HEAVIEST: Final = 3
"""By CPU, and as many by memory."""

BUSY_PERCENT: Final = 1.0
MAX_ZOMBIES: Final = 20
"""Rows of one pass; the column `zombies` has the true number."""


def boot_at_ms() -> int:
    """When the machine started, by the wall clock of now."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000


class Processes:
    """One scan serves the columns, the rows of `process_metrics` and the watch."""

    def __init__(
        self,
        root: Path,
        finder: GatewayFinder | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._finder = finder
        self._clock = clock
        self._before: dict[int, ProcessStat] | None = None
        self._read_at = 0.0
        self._boot_at_ms = boot_at_ms()

    def collect(self) -> Reading:
        table = read_table(self._root)
        now = self._clock()
        before, seconds = self._before, now - self._read_at
        self._before, self._read_at = table.processes, now
        found = self._finder.find(table.processes) if self._finder else None
        cpu = {} if before is None else _cpu_percents(table, before, seconds)
        gateway = found and found.process
        values: dict[str, Any] = {
            "processes": len(table.processes) + table.unread,
            "zombies": sum(process.is_zombie for process in table.processes.values()),
        }
        if self._finder is not None:
            is_unknown = gateway is None and self._finder.has_hidden_listener
            values["gateway_up"] = None if is_unknown else int(gateway is not None)
        if gateway is not None:
            values["gateway_pid"] = gateway.pid
            values["gateway_cpu_percent"] = cpu.get(gateway.pid)
            values["gateway_rss_bytes"] = gateway.rss_pages * PAGE_BYTES
        chosen = _choose(table.processes.values(), cpu, gateway)
        return Reading(
            values,
            {
                "table": table,
                "gateway": found,
                "vanished": _heaviest_vanished(table.processes, before or {}),
                "rows": list(self._rows(chosen, cpu, gateway)),
            },
        )

    def _rows(
        self, chosen: Iterable[ProcessStat], cpu: dict[int, float], gateway: ProcessStat | None
    ) -> Iterator[dict[str, Any]]:
        boot = boot_at_ms()
        if abs(boot - self._boot_at_ms) > 1000:  # else it would waver with each reading
            self._boot_at_ms = boot
        for process in chosen:
            yield {
                "pid": process.pid,
                "ppid": process.ppid,
                "name": display_name(self._root, process),
                "state": process.state,
                "cpu_percent": cpu.get(process.pid),
                "rss_bytes": process.rss_pages * PAGE_BYTES,
                "threads": process.threads,
                "started_at": started_at(process, self._boot_at_ms),
                "is_gateway": int(gateway is not None and process.pid == gateway.pid),
            }


def started_at(process: ProcessStat, boot_ms: int) -> int:
    """Epoch milliseconds."""
    return boot_ms + process.start_ticks * 1000 // TICKS_PER_S


def display_name(root: Path, process: ProcessStat) -> str:
    """The kernel's name, but `node` for Node, which calls its main thread `MainThread`."""
    if process.name == "MainThread" and (command := read_command(root, process.pid)):
        return command[0].split(" ", maxsplit=1)[0].rpartition("/")[2] or process.name
    return process.name


def _cpu_percents(
    table: ProcessTable, before: dict[int, ProcessStat], seconds: float
) -> dict[int, float]:
    """By pid, of one core. All CPU of a process that is new was used in this interval."""
    if seconds <= 0:
        return {}
    percents = {}
    for pid, process in table.processes.items():
        last = before.get(pid)
        is_same = last is not None and last.identity == process.identity
        ticks = process.cpu_ticks - (last.cpu_ticks if is_same and last else 0)
        percents[pid] = percent(max(0, ticks) / TICKS_PER_S, seconds)
    return percents


def _choose(
    processes: Iterable[ProcessStat], cpu: dict[int, float], gateway: ProcessStat | None
) -> list[ProcessStat]:
    """Each once."""
    processes = list(processes)
    chosen = [gateway] if gateway else []
    chosen += nlargest(HEAVIEST, processes, key=lambda process: process.rss_pages)
    busy = [process for process in processes if cpu.get(process.pid, 0) >= BUSY_PERCENT]
    chosen += nlargest(HEAVIEST, busy, key=lambda process: cpu[process.pid])
    chosen += [process for process in processes if process.is_zombie][:MAX_ZOMBIES]
    return list({process.pid: process for process in chosen}.values())


def _heaviest_vanished(
    now: dict[int, ProcessStat], before: dict[int, ProcessStat]
) -> ProcessStat | None:
    """The largest process of the last scan that has ended: likely whom the kernel killed."""
    gone = [
        process
        for pid, process in before.items()
        if pid not in now or now[pid].start_ticks != process.start_ticks or now[pid].is_zombie
        if not process.is_zombie
    ]
    return max(gone, key=lambda process: process.rss_pages, default=None)
