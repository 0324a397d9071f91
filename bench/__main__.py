"""Prints a table: figure, value, goal. Load is bounded and stays on loopback."""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

from bench import compare, load, metrics, push, reading, redact, watching
from bench.server import Server


def cpu_ticks():
    """Stolen and all ticks so far (proc(5)): with stolen ones no latency means much."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return ticks[7], sum(ticks)


def cpu_per_request_us(server, request, total):
    before = server.cpu_ns()
    duration_s, latencies = load.run(server.port, request, total=total)
    time.sleep(0.3)  # the last commit belongs to the load
    return (server.cpu_ns() - before) / total / 1000, total / duration_s, latencies


def show(name, value, goal=""):
    print(f"{name:<52} {value:>22}   {goal}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()

    started = cpu_ticks()
    show(f"Python {platform.python_version()}, {platform.machine()}", "measured", "goal")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(folder, "bench/bare.conf.py") as bare,
        Server(folder) as ours,
    ):
        show("first healthy answer, s", f"{ours.first_answer_s:.2f}", "≤ 1")
        time.sleep(2)
        show_memory("idle", bare, ours, "≤ 46")
        before = ours.cpu_ns()
        time.sleep(options.seconds)
        idle_percent = (ours.cpu_ns() - before) / options.seconds / 1e7
        show("idle CPU, % of one core", f"{idle_percent:.3f}", "≤ 0.2")

        bare_us = single(bare, ours, options.rounds)
        batch(ours, bare_us, options.rounds)
        _, latencies = load.run(
            ours.port, load.SINGLE, total=int(50 * options.seconds), connections=2, per_s=50
        )
        show(
            "50 events/s: p50 / p99, ms",
            f"{load.percentile(latencies, 0.5):.2f} / {load.percentile(latencies, 0.99):.2f}",
            "p99 ≤ 5",
        )
        show_memory("after all this (> 50,000 events)", bare, ours, "≤ 52")
        watching.show_all(show, ours)
        show_memory("after scrapes and profiles", bare, ours, "")
    name, worst, prose = redact.worst()
    show("redaction of prose, CPU s per MB", f"{prose:.3f}")
    show(f"redaction at worst ({name}), CPU s per MB", f"{worst:.3f}", "≤ 0.2")
    metrics.show_all(show)
    reading.show_all(show)
    compare.show_all(show)
    push.run(show)
    stolen, total = (after - before for after, before in zip(cpu_ticks(), started, strict=True))
    show("CPU time stolen by other machines meanwhile, %", f"{100 * stolen / total:.1f}")


def single(bare, ours, rounds, total=3000):
    """Alternates, so that both see the same machine; returns the CPU of a bare request in µs."""
    results = {bare: [], ours: []}
    for server in (bare, ours):
        load.run(server.port, load.SINGLE, total=500)
    for _ in range(rounds):
        for server, rows in results.items():
            rows.append(cpu_per_request_us(server, load.SINGLE, total))
    for name, server in (("bare 202", bare), ("openclaw-trace", ours)):
        cpu_us, rate, latencies = sorted(results[server])[rounds // 2]
        show(f"single POST, {name}: CPU µs / requests per s", f"{cpu_us:.0f} / {rate:.0f}")
        show(
            f"single POST, {name}: p50 / p99, ms",
            f"{load.percentile(latencies, 0.5):.2f} / {load.percentile(latencies, 0.99):.2f}",
        )
    ratios = [o[0] / b[0] for b, o in zip(results[bare], results[ours], strict=True)]
    ratio = statistics.median(ratios)
    show("single POST: CPU, ratio to bare (median of rounds)", f"{ratio:.2f}", "≤ 1.25")
    return statistics.median(row[0] for row in results[bare])


def batch(ours, bare_us, rounds, total=150):
    """One client that waits for each commit: the rate at which nothing has to be refused."""
    results = []
    for _ in range(rounds):
        before = ours.cpu_ns()
        duration_s, _ = load.run(ours.port, load.NDJSON_50, total=total, connections=1)
        results.append(((ours.cpu_ns() - before) / total / 50_000, total * 50 / duration_s))
    cpu_us, rate = sorted(results)[rounds // 2]
    show("NDJSON of 50: CPU µs per stored event", f"{cpu_us:.1f}", "≤ 25")
    show("NDJSON of 50: the same, ratio to a bare request", f"{cpu_us / bare_us:.3f}")
    show("NDJSON of 50: stored events per s", f"{rate:.0f}")


def show_memory(when, bare, ours, goal):
    for name, server in (("bare", bare), ("openclaw-trace", ours)):
        memory = server.memory_mb()
        value = " / ".join(f"{memory[kind]:.1f}" for kind in ("unique", "rss", "pss"))
        show(f"{name} {when}: unique / RSS / PSS, MB", value, goal if server is ours else "")


if __name__ == "__main__":
    main()
