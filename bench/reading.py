"""Reading back from a large database: pages, statistics, and what both cost those who write.

`python -m bench.reading` is `make bench-scale`: a million calls, 1.2 GB in the temporary folder.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench import load
from bench.server import Server
from tracer import schema
from tracer.events import LlmTrace
from tracer.reading import Reader
from tracer.statistics import COST_BY, DAY_MS, ERRORS_BY, LATENCY_BY
from tracer.store import Store
from tracer.timestamps import now_ms

DAYS = 30
MODELS = (
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5-mini"),
    ("google", "gemini-2.5-pro"),
    ("openrouter", "claude-sonnet-4-5"),
    ("ollama", "llama3"),
)
TEXT = "What is the weather in Lisbon today, and what should I pack? " * 6
COLUMNS = (
    *("trace_id", "created_at", "received_at", "agent_id", "metadata", "provider", "model"),
    *("operation", "input_text", "output_text", "prompt_tokens", "completion_tokens"),
    *("total_tokens", "cost_usd", "latency_ms", "ttft_ms", "status", "error_type", "session_id"),
)
INSERT = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
WRITTEN = 4000
"""Rows inserted to tell what an index costs."""


def rows(count, start_ms, end_ms, seed=1):
    """Calls at a steady rate; few sessions at a time, as one agent has."""
    chance = random.Random(seed)
    sessions = [f"{chance.getrandbits(128):032x}" for _ in range(count // 200 + 8)]
    for number in range(count):
        at = start_ms + (end_ms - start_ms) * number // count + chance.randrange(3000)
        provider, model = MODELS[min(int(chance.expovariate(0.6)), len(MODELS) - 1)]
        tokens, answer = chance.randrange(100, 20000), chance.randrange(10, 2000)
        status = chance.choices(("success", "error", "timeout"), (97, 2, 1))[0]
        error = None if status == "success" else "APIError"
        cost = None if provider == "ollama" else round(tokens * 3e-6 + answer * 15e-6, 6)
        times = round(chance.lognormvariate(7, 1), 1), round(chance.lognormvariate(5, 1), 1)
        yield (
            *(f"{at:012x}-{chance.getrandbits(80):020x}", at, at, "agent-1", '{"channel":"web"}'),
            *(provider, model, "chat", TEXT, TEXT, tokens, answer, tokens + answer, cost, *times),
            *(status, error, sessions[number // 200 + chance.randrange(8)]),
        )


def build(path, count, end_ms):
    store = Store(path, synchronous="normal")
    store.open()
    store.close()
    indexes = [index for index in schema._READING_INDEXES if index.startswith("llm_traces")]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA synchronous = 0; PRAGMA cache_size = -65536")
        for index in indexes:
            connection.execute(f"DROP INDEX {index.split()[0]}")
        connection.execute("BEGIN")
        connection.executemany(INSERT, rows(count, end_ms - DAYS * DAY_MS, end_ms))
        connection.execute("UPDATE llm_traces SET pushed_at = 1")
        connection.execute("COMMIT")
        started = time.process_time()
        for index in indexes:
            connection.execute(f"CREATE INDEX {index}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return time.process_time() - started


def median_ms(ask, times):
    """Wall and CPU."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return statistics.median(walls), statistics.median(cpus)


def show_pages(show, reader):
    chosen = [
        ("no filter", {}),
        ("a session that is not there", {"session_id": "nobody"}),
        ("a rare status", {"status": "timeout"}),
        ("model and provider that never meet", {"model": "llama3", "provider": "openai"}),
    ]
    for name, filters in chosen:
        wall, cpu = median_ms(
            lambda filters=filters: reader.page(LlmTrace, filters=filters, raw_metadata=True), 9
        )
        show(f"page of 100, {name}: wall / CPU, ms", f"{wall:.1f} / {cpu:.1f}", "≤ 20")
    wall, cpu = median_ms(lambda: reader.page(LlmTrace, limit=1000, raw_metadata=True), 9)
    show("page of 1000: wall / CPU, ms", f"{wall:.1f} / {cpu:.1f}")


def show_statistics(show, reader, end_ms):
    for days, since_ms, goal in ((7, end_ms - 7 * DAY_MS, "≤ 300"), (DAYS, None, "≤ 2000")):
        for name, ask, choices in (
            ("cost", reader.cost, COST_BY),
            ("latency", reader.latency, LATENCY_BY),
            ("errors", reader.errors, ERRORS_BY),
        ):
            for by in choices:
                wall, cpu = median_ms(lambda a=ask, b=by, s=since_ms: a(b, s), 3)
                show(
                    f"{name} by {by}, {days} days: wall / CPU, ms", f"{wall:.0f} / {cpu:.0f}", goal
                )


def insert_us(connection, count, number):
    """CPU per row and bytes of write-ahead log per row, in batches of 50."""
    start_ms = now_ms() + number * DAY_MS
    batch = list(rows(count, start_ms, start_ms + DAY_MS, seed=number))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = time.process_time()
    for start in range(0, count, 50):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, batch[start : start + 50])
        connection.execute("COMMIT")
    used_us = (time.process_time() - before) / count * 1e6
    busy, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert not busy
    return used_us, pages * 4096 / count


def show_indexes(show, path):
    """Takes the indexes away one after the other."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = -512")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        numbers = iter(range(1, 1000))

        def cost():
            found = [insert_us(connection, WRITTEN, next(numbers)) for _ in range(3)]
            return min(us for us, _ in found), min(size for _, size in found)

        before = cost()
        show(
            "insert with all indexes: CPU µs / log bytes per row", "{:.1f} / {:.0f}".format(*before)
        )
        for index in schema._READING_INDEXES:
            name = index.split()[0]
            if name.startswith("llm_traces"):
                connection.execute(f"DROP INDEX {name}")
                after = cost()
                saved = before[0] - after[0], before[1] - after[1]
                show(f"  of that {name}", "{:.1f} / {:.0f}".format(*saved))
                before = after
        show("insert without them", "{:.1f} / {:.0f}".format(*before))


def read_for_ever(port):
    targets = [
        *(f"/v1/stats/cost?by={by}&since=7d" for by in COST_BY),
        "/v1/stats/latency?since=7d",
        "/v1/traces?limit=1000",
    ]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        for target in targets:
            connection.request("GET", target)
            assert connection.getresponse().read()
            connection.close()  # one that was long at work is not kept alive


def show_ingest(show, folder, copy, rounds=3, total=1000):
    """The same load in turns alone, beside a client that reads all the time, and beside one that
    reads as much from another sidecar: what only the machine is to blame for.
    """
    found = {"alone": [], "beside a reader": [], "beside a reader of another sidecar": []}
    with Server(folder) as server, Server(copy) as other:
        load.run(server.port, load.SINGLE, total=500)
        ports = dict(zip(found, (None, server.port, other.port), strict=True))
        for _ in range(rounds):
            for name, port in ports.items():
                reader = multiprocessing.Process(target=read_for_ever, args=(port,))
                if port is not None:
                    reader.start()
                _, times = load.run(server.port, load.SINGLE, total=total, connections=2, per_s=100)
                found[name].append((load.percentile(times, 0.5), load.percentile(times, 0.99)))
                if port is not None:
                    reader.kill()
                    reader.join()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/v1/stats/latency?since=7d")
        assert "items" in json.loads(connection.getresponse().read())
        connection.close()
    for name, latencies in found.items():
        p50, p99 = (statistics.median(column) for column in zip(*latencies, strict=True))
        goal = "p99 as in the next line" if name == "beside a reader" else ""
        show(f"ingest {name}: p50 / p99, ms", f"{p50:.2f} / {p99:.2f}", goal)


def show_all(show, count=100_000):
    with tempfile.TemporaryDirectory() as folder:
        path, end_ms = Path(folder) / "trace.db", now_ms()
        built_s = build(path, count, end_ms)
        show(f"reading: {count} calls; database, MB", f"{path.stat().st_size / 1e6:.0f}")
        show("all indexes built at a migration, CPU s", f"{built_s:.1f}")
        reader = Reader(path, deadline_s=60)
        show_pages(show, reader)
        show_statistics(show, reader, end_ms)
        with tempfile.TemporaryDirectory() as other:
            copy = Path(other) / "trace.db"
            shutil.copy(path, copy)
            show_ingest(show, folder, other)
            show_indexes(show, copy)


if __name__ == "__main__":
    from bench.__main__ import show as show_line

    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    show_all(show_line, parser.parse_args().rows)
