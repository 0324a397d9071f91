"""Prints what a large database costs: insert rate, a pass that deletes 100,000 rows, `/health`."""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench import load
from bench.__main__ import cpu_ticks, show
from bench.server import Server
from tests.support.decoders import decoder_of
from tracer.events import LlmTrace
from tracer.store import Store

DAY_MS = 86_400_000
ROUNDS, BATCHES = 15, 20
OLD_SHARE = 0.1


def fill(store, decoder, rows, old):
    """Rows of 1 KB, of which the first ones are older than any retention."""
    text = json.dumps(load.CALL | {"input_text": "x" * 300}).encode()
    now = time.time_ns() // 10**6
    for start in range(0, rows, 500):
        arrived = now - 30 * DAY_MS if start < old else now
        store.insert([decoder.decode(text, arrived) for _ in range(min(500, rows - start))])


def insert_rate(store, decoder):
    """Rows per s in batches of 50."""
    text = json.dumps(load.CALL).encode()
    batches = [[decoder.decode(text, 1) for _ in range(50)] for _ in range(BATCHES)]
    started = time.perf_counter()
    for batch in batches:
        store.insert(batch)
    return BATCHES * 50 / (time.perf_counter() - started)


def compare_inserts(small, large, decoder):
    rates = []
    for number in range(ROUNDS):
        order = (small, large) if number % 2 else (large, small)
        found = {store: insert_rate(store, decoder) for store in order}
        rates.append((found[small], found[large]))
    ratio = statistics.median(b / a for a, b in rates)
    show(
        "inserts in batches of 50, small database: rows/s",
        f"{statistics.median(a for a, _ in rates):.0f}",
    )
    show(
        "inserts in batches of 50, large database: rows/s",
        f"{statistics.median(b for _, b in rates):.0f}",
    )
    show("the same, ratio large / small (median of rounds)", f"{ratio:.2f}", "≥ 0.9")


def delete_beside_load(folder, old, seconds):
    settings = {"TRACE_MAX_DB_BYTES": "8GB", "TRACE_DISK_MAX_PERCENT": "100"}
    with Server(folder, **settings) as server:
        started = time.perf_counter()

        def is_done():
            deleted = server.health()["events"]["rows"]["deleted"].get("age_unpushed", 0)
            return deleted >= old or time.perf_counter() - started > 120

        beside = measure(server, is_done)
        took_s = time.perf_counter() - started
        after = measure(server, lambda: time.perf_counter() - started > took_s + seconds)
        show(f"a pass that deletes {old} rows: s", f"{took_s:.1f}")
        for when, (posts, healths), goals in (
            ("beside it", beside, ("p99 ≤ 20", "≤ 5")),
            ("afterwards", after, ("", "")),
        ):
            for name, latencies, goal in zip(
                ("50 events/s", "/health, 20/s"), (posts, healths), goals, strict=True
            ):
                p50, p99 = (load.percentile(latencies, share) for share in (0.5, 0.99))
                show(f"{name} {when}: p50 / p99, ms", f"{p50:.2f} / {p99:.2f}", goal)
        show_file("file afterwards", server.database)


def measure(server, is_done):
    """Sorted latencies in ms of events and of `/health`, in turns of half a second until done."""
    posts, healths = [], []

    def ask():
        healths.extend(load.run(server.port, load.HEALTH, total=10, connections=1, per_s=20)[1])

    while not is_done():
        asking = threading.Thread(target=ask)
        asking.start()
        posts += load.run(server.port, load.SINGLE, total=25, connections=2, per_s=50)[1]
        asking.join()
    return sorted(posts), sorted(healths)


def show_file(name, path):
    show(f"{name}: MB", f"{path.stat().st_size / 2**20:.0f}")


def main():
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    started = cpu_ticks()
    decoder = decoder_of(LlmTrace, is_redacting=False)
    with tempfile.TemporaryDirectory() as folder:
        stores = [
            Store(Path(folder) / name, synchronous="full") for name in ("small.db", "trace.db")
        ]
        old = int(options.rows * OLD_SHARE)
        for store, rows in zip(stores, (1000, options.rows), strict=True):
            store.open()
            fill(store, decoder, rows, old if rows > 1000 else 0)
        show("rows in the large database", str(options.rows), "goal")
        show_file("file", stores[1].path)
        compare_inserts(*stores, decoder)
        for store in stores:
            store.close()
        delete_beside_load(folder, old, options.seconds)
    stolen, total = (after - before for after, before in zip(cpu_ticks(), started, strict=True))
    show("CPU time stolen by other machines meanwhile, %", f"{100 * stolen / total:.1f}")


if __name__ == "__main__":
    main()
