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
from tracer.profiler import Profiler

SCRAPES = 50
PROFILE_S = 8


def show_all(show, server):
    scrapes(show, server)
    profile(show, server)
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


def profile(show, server):
    """What looking costs: beside threads at work, and in an idle server. The difference that it
    makes to a load is less than that of two runs of the same load.
    """
    show("profile: CPU beside 8 threads at work, % of a core", f"{looking_percent():.2f}", "≤ 3")
    before = server.cpu_ns()
    get(server, f"/debug/pprof/profile?seconds={PROFILE_S}")
    idle = (server.cpu_ns() - before) / PROFILE_S / 1e7
    show("profile: CPU while idle, % of a core", f"{idle:.2f}", "≤ 3")
    before = server.cpu_ns()
    time.sleep(PROFILE_S)
    after = (server.cpu_ns() - before) / PROFILE_S / 1e7
    show("profile: CPU idle afterwards, % of a core", f"{after:.2f}")


def looking_percent(threads=8, seconds=PROFILE_S):
    """Of the thread that records, here and not in the server, where nobody could tell it apart."""
    decoder, text = decoder_of(LlmTrace), json.dumps(load.CALL).encode()
    done = threading.Event()

    def work():
        while not done.wait(0.002):
            decoder.decode(text, 1)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    before = time.thread_time()
    Profiler().record(seconds)
    used_s = time.thread_time() - before
    done.set()
    for worker in workers:
        worker.join()
    return 100 * used_s / seconds


def counting(show, batches=2000):
    decoder = decoder_of(LlmTrace)
    records = [decoder.decode(json.dumps(load.CALL).encode(), 1)] * 50
    counts = CallCounts()
    before = time.thread_time_ns()
    for _ in range(batches):
        counts.note(records)
    per_event_us = (time.thread_time_ns() - before) / batches / 50_000
    show("counting calls for /metrics: CPU µs per event", f"{per_event_us:.1f}")
