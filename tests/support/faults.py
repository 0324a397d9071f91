"""Ways to hurt a running service, and what must hold all the same."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.gunicorn import assert_balanced

IS_LONG = os.environ.get("CHAOS") == "long"
ONLY_LONG = pytest.mark.skipif(not IS_LONG, reason="takes minutes: make chaos")


def amount(short, long):
    """How much of something: the short set is part of every test run."""
    return long if IS_LONG else short


@contextmanager
def strace(pid, inject):
    """While it lasts, system calls of a process fail or are slow: strace(1), `-e inject`."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = inject.partition(":")[0]
    command = ["strace", "-qq", "-f", "-p", str(pid), "-e", f"trace={calls}"]
    with Path(f"/tmp/strace-{pid}.txt").open("w+") as log:
        tracer = subprocess.Popen(
            [*command, "-e", f"inject={inject}"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            status = Path(f"/proc/{pid}/status")
            wait_until(lambda: "TracerPid:\t0\n" not in status.read_text() or tracer.poll())
            if tracer.poll() is not None:
                pytest.skip(f"strace: {Path(log.name).read_text().strip()[:100]}")
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            Path(log.name).unlink()


def rss_mb(server):
    """The worker's resident memory, now and at most."""
    (pid,) = server.worker_pids
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return [round(int(fields[name].split()[0]) / 1024, 1) for name in ("VmRSS", "VmHWM")]


def is_degraded(server):
    try:
        return server.request("GET", "/health")[0] == 503
    except OSError:
        return False


def assert_kept(server, load, figure, **figures):
    """Everything promised is there, the ledger adds up and the file is whole; reports figures."""
    load.stop()
    wait_until(server.answers, 30)
    wait_until(lambda: server.health()["queue_depth"] == 0, 20)
    events = server.health()["events"]
    assert_balanced(events)
    assert events["lost"] == {}
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("BEGIN")  # one view: a clean-up may still run
        counts = dict(connection.execute("SELECT name, value FROM row_counts"))
        stored = {row[0] for row in connection.execute("SELECT trace_id FROM llm_traces")}
        others = sum(
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("error_events", "custom_events")
        )
    deleted = {name: value for name, value in counts.items() if name.startswith("deleted.")}
    assert counts["stored"] == len(stored) + others + sum(deleted.values())
    lost = len(set(load.promised) - stored) - sum(deleted.values())
    assert lost <= 0
    figure(
        accepted=len(load.promised),
        refused=load.refused,
        lost=max(0, lost),
        deleted=deleted,
        ingest_p99_ms=load.p99_ms(),
        rss_now_and_peak_mb=rss_mb(server),
        **{name: round(v, 2) if isinstance(v, float) else v for name, v in figures.items()},
    )


def promised_more(load, count=20, timeout_s=20):
    """Waits until the service has accepted that many more events."""
    before = len(load.promised)
    wait_until(lambda: len(load.promised) >= before + count, timeout_s)


def seconds_until(condition, timeout_s=30):
    started = time.monotonic()
    wait_until(condition, timeout_s)
    return time.monotonic() - started
