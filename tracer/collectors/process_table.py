"""All processes at one instant, read straight from `/proc/PID/stat` (proc_pid_stat(5)).

psutil's `process_iter` costs ten times as much per process.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessStat(NamedTuple):
    """One process. `pid` and `start_ticks` together are its identity: pids come again."""

    pid: int
    name: str
    state: str
    ppid: int
    cpu_ticks: int
    threads: int
    start_ticks: int  # after boot
    rss_pages: int
    exit_code: int  # as wait(2) gives it; 0 for want of permission

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.start_ticks

    @property
    def is_zombie(self) -> bool:
        """Ended, and nobody has waited for it."""
        return self.state in ("Z", "X")


class ProcessTable(NamedTuple):
    """pid → process, and how many could not be read (`hidepid`)."""

    processes: dict[int, ProcessStat]
    unread: int


def read_table(root: Path) -> ProcessTable:
    """Reads all processes that can be seen. Raises OSError without `/proc`."""
    folder = os.open(root / "proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        processes, unread = {}, 0
        for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if not name.isdigit():
                continue
            try:
                descriptor = os.open(f"{name}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
            except OSError:
                unread += 1
                continue
            try:
                process = parse_stat(os.read(descriptor, 4096))
            except OSError:
                process = None
            finally:
                os.close(descriptor)
            if process is not None:
                processes[process.pid] = process
        return ProcessTable(processes, unread)
    finally:
        os.close(folder)


def parse_stat(content: bytes) -> ProcessStat | None:
    """The name may hold spaces and brackets, so the last bracket counts. None when cut short."""
    opening, closing = content.find(b"("), content.rfind(b")")
    fields = content[closing + 2 :].split()
    if opening < 1 or closing < opening or len(fields) < 22:
        return None
    try:
        return ProcessStat(
            pid=int(content[:opening]),
            name=content[opening + 1 : closing].decode(errors="replace"),
            state=fields[0].decode(),
            ppid=int(fields[1]),
            cpu_ticks=int(fields[11]) + int(fields[12]),
            threads=int(fields[17]),
            start_ticks=int(fields[19]),
            rss_pages=max(0, int(fields[21])),
            exit_code=int(fields[49]) if len(fields) > 49 else 0,
        )
    except ValueError:
        return None


def read_command(root: Path, pid: int) -> list[str]:
    """The arguments of a process; empty when it has gone, is hidden, or a thread of the kernel."""
    try:
        descriptor = os.open(root / f"proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        content = os.read(descriptor, 4096)
    except OSError:
        return []
    finally:
        os.close(descriptor)
    return content.decode(errors="replace").rstrip("\0 ").split("\0") if content else []
