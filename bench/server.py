"""A real gunicorn, and what the kernel says it costs."""

import os
from pathlib import Path

from tests.support.gunicorn import Gunicorn

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Server(Gunicorn):
    """Measures master and worker together. All runs as by default, but no name leaves loopback."""

    def __init__(self, folder, conf="gunicorn.conf.py", **environ):
        defaults = {"TRACE_METRICS_INTERVAL": "15s", "TRACE_WATCH_PROCESS": "auto"}
        super().__init__(folder, conf, **defaults, TRACE_DNS_PROBES="localhost", **environ)

    @property
    def pids(self):
        return [self.process.pid, *self.worker_pids]

    def cpu_ns(self):
        """CPU time of master and worker, all their threads."""
        total = 0
        for pid in self.pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def memory_mb(self):
        """`unique` physical pages of both (needs root), sums of `rss` and of `pss`."""
        rss = pss = 0
        frames = set()
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
            frames |= _frames(pid)
        unique = len(frames) * PAGE_BYTES / 2**20 if frames else float("nan")
        return {"unique": unique, "rss": rss / 1024, "pss": pss / 1024}


def _frames(pid):
    """Numbers of the physical pages of a process (kernel: admin-guide/mm/pagemap)."""
    frames = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.rstrip().endswith("[vsyscall]"):
                continue
            pagemap.seek(start // PAGE_BYTES * 8)
            entries = pagemap.read((end - start) // PAGE_BYTES * 8)
            for place in range(0, len(entries), 8):
                entry = int.from_bytes(entries[place : place + 8], "little")
                if entry >> 63 and (frame := entry & (1 << 55) - 1):
                    frames.add(frame)
    return frames
