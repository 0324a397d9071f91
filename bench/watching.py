"""What it costs to be watched: a scrape, a profile being recorded, the counting of calls."""

import json
import statistics
import threading
import time
import urllib.request

from bench import load
from tests.support.decoders import decoder_of
from tracer.call_counts import CallCounts
from tracer.events import LlmTrace

SCRAPES = 50
PROFILE_S = 8


def show_all(show, server, rounds=5):
    scrapes(show, server)
    profile(show, server, rounds)
    counting(show)


def get(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=90) as answer:
        return answer.read()


def scrapes(show, server):
    started = time.perf_counter()
    size = len(get(server, "/metrics"))
    first_ms = (time.perf_counter() - started) * 1000
    before, latencies = server.cpu_ns(), []
    for _ in range(SCRAPES):
        started = time.perf_counter()
        get(server, "/metrics")
        latencies.append((time.perf_counter() - started) * 1000)
    cpu_ms = (server.cpu_ns() - before) / SCRAPES / 1e6
    show("scrape: the first, ms / size, KB", f"{first_ms:.0f} / {size / 1024:.0f}")
    show("scrape: p50 ms / CPU ms", f"{statistics.median(latencies):.1f} / {cpu_ms:.1f}", "≤ 20")


def profile(show, server, rounds):
    """CPU of the same load with and without one, taken in turns; and of an idle server."""

    def cpu_of_load():
        before, ends, requests = server.cpu_ns(), time.monotonic() + PROFILE_S - 1, 0
        while time.monotonic() < ends:
            load.run(server.port, load.SINGLE, total=100)
            requests += 100
        return (server.cpu_ns() - before) / requests

    def watched():
        path = f"/debug/pprof/profile?seconds={PROFILE_S}"
        recording = threading.Thread(target=get, args=(server, path))
        recording.start()
        time.sleep(0.1)
        cpu_ns = cpu_of_load()
        recording.join()
        return cpu_ns

    pairs = []
    for number in range(rounds):  # the order changes, or a machine that slows down would decide
        first, second = (cpu_of_load, watched) if number % 2 else (watched, cpu_of_load)
        pair = first(), second()
        pairs.append(pair if number % 2 else pair[::-1])
    added = [100 * (with_it / alone - 1) for alone, with_it in pairs]
    spread = f"{statistics.median(added):.1f} ({min(added):.1f} … {max(added):.1f})"
    show("profile: CPU added to a request under load, %", spread, "≤ 3")
    before = server.cpu_ns()
    get(server, f"/debug/pprof/profile?seconds={PROFILE_S}")
    idle = (server.cpu_ns() - before) / PROFILE_S / 1e7
    show("profile: CPU while idle, % of a core", f"{idle:.2f}", "≤ 3")
    before = server.cpu_ns()
    time.sleep(PROFILE_S)
    after = (server.cpu_ns() - before) / PROFILE_S / 1e7
    show("profile: CPU idle afterwards, % of a core", f"{after:.2f}")


def counting(show, batches=2000):
    decoder = decoder_of(LlmTrace)
    records = [decoder.decode(json.dumps(load.CALL).encode(), 1)] * 50
    counts = CallCounts()
    before = time.thread_time_ns()
    for _ in range(batches):
        counts.note(records)
    per_event_us = (time.thread_time_ns() - before) / batches / 50_000
    show("counting calls for /metrics: CPU µs per event", f"{per_event_us:.1f}")
