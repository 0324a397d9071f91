"""Starts a real gunicorn and reads from the kernel what it costs."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).parent.parent
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """gunicorn with a configuration file of the project; a context manager."""

    def __init__(self, conf, folder, environ=None):
        self.port = free_port()
        self.conf = conf
        self.environ = {
            "PATH": os.environ["PATH"],
            "TRACE_BIND": f"127.0.0.1:{self.port}",
            "TRACE_DB_PATH": str(Path(folder) / "bench.db"),
            **(environ or {}),
        }

    def __enter__(self):
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn.app.wsgiapp", "-c", self.conf],
            cwd=PROJECT,
            env=self.environ,
            stderr=subprocess.DEVNULL,
        )
        self.first_answer_s = None
        while time.monotonic() - started < 10:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                status = connection.getresponse().status
                connection.close()
                if status in (200, 404):
                    self.first_answer_s = time.monotonic() - started
                    return self
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"{self.conf} did not answer")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)

    @property
    def pids(self):
        """Master and worker."""
        master = self.process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [master, *map(int, children)]

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
