"""The push: a backlog to a local receiver, and what a recovery costs those who report meanwhile.

The receiver needs a core as well, so the last figure tells what it alone does to those who report:
another process sends it batches of the same size at the same pace.
"""

import json
import multiprocessing
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from bench import load
from bench.server import Server
from tests.support import wait_until
from tests.support.backlog import fill
from tests.support.receiver import Receiver

MEANWHILE_PER_S = 100
KEEP_ALL = {"TRACE_MAX_DB_BYTES": "4GB", "TRACE_DISK_MAX_PERCENT": "100"}


def worker_memory_mb(server, field):
    (pid,) = server.worker_pids
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def latencies_ms(server, seconds):
    """Of single events that are reported meanwhile: p50 and p99."""
    total = MEANWHILE_PER_S * seconds
    _, latencies = load.run(
        server.port, load.SINGLE, total=total, connections=2, per_s=MEANWHILE_PER_S
    )
    return " / ".join(f"{load.percentile(latencies, share):.2f}" for share in (0.5, 0.99))


def feed(url, pause_s, rows=1000, row_bytes=1_600):
    """Sends batches for ever, as large as those of a push; rows come again, as after a crash."""
    bodies = []
    for _ in range(8):
        call = load.CALL | {
            "input_text": "x" * (row_bytes // 2),
            "output_text": "y" * (row_bytes // 2),
        }
        data = [call | {"trace_id": str(uuid.uuid4())} for _ in range(rows)]
        events = [{"type": "llm_trace", "data": one} for one in data]
        bodies.append(json.dumps({"batch_id": str(uuid.uuid4()), "events": events}).encode())
    while True:
        for body in bodies:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request).close()
            time.sleep(pause_s)


def run(show, *, rows=100_000, row_bytes=1_600):
    """A row of `row_bytes` of text is 2 KB in a body."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "trace.db", calls=rows, text_bytes=row_bytes // 2)
        with (
            Receiver(folder) as receiver,
            Server(
                folder, TRACE_PUSH_ENDPOINT=receiver.url, TRACE_PUSH_INTERVAL="8s", **KEEP_ALL
            ) as server,
        ):
            usual = latencies_ms(server, seconds=5)
            idle_mb = worker_memory_mb(server, "VmRSS")
            wait_until(lambda: server.health()["events"]["rows"]["pushed"], 30)
            busy = latencies_ms(server, seconds=4)
            wait_until(lambda: server.health()["unpushed"] == 0, 300)
            (log,) = server.rows(
                "SELECT sum(bytes) AS bytes, count(*) AS batches, "
                "sum(duration_ms) AS sent_ms, "
                "max(created_at) - min(created_at - duration_ms) AS took_ms FROM push_log"
            )
            peak_mb = worker_memory_mb(server, "VmHWM")
            events, deliveries = receiver.counts()
            pause_s = max(0.0, (log["took_ms"] - log["sent_ms"]) / log["batches"] / 1000)
            feeder = multiprocessing.Process(target=feed, args=(receiver.url, pause_s))
            feeder.start()
            wait_until(lambda: receiver.counts()[1] > deliveries, 30)
            beside_receiver = latencies_ms(server, seconds=4)
            feeder.kill()
            feeder.join()
    assert events == deliveries >= rows + MEANWHILE_PER_S * 9  # and samples of the host
    rate = events / log["took_ms"] * 1000
    show(f"push {rows} rows of {log['bytes'] / events:.0f} B: rows per s", f"{rate:.0f}", "≥ 5000")
    show("push: memory of the worker above idle, MB", f"{peak_mb - idle_mb:.1f}", "≤ 20")
    show("100 events/s meanwhile: p50 / p99, ms: without the push", usual)
    show("100 events/s meanwhile: p50 / p99, ms: beside the push", busy, "p99 as in the next line")
    show("100 events/s meanwhile: p50 / p99, ms: beside the receiver alone", beside_receiver)
