"""Host figures beside those of prometheus-node-exporter, both read at the same two moments."""

import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.support import wait_until
from tests.support.gunicorn import free_port
from tracer import collectors
from tracer.collectors.runner import Runner

EXPORTERS = ("prometheus-node-exporter", "node_exporter")


def show_all(show, seconds=15):
    program = next((path for name in EXPORTERS if (path := shutil.which(name))), None)
    if program is None:
        show("node_exporter is not installed", "", "apt-get install prometheus-node-exporter")
        return
    port = free_port()
    command = [program, f"--web.listen-address=127.0.0.1:{port}", "--collector.processes"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter,
    ):
        try:
            wait_until(lambda: _answers(port))
            parts = collectors.build(folder=Path(folder), mode="host", watch="", dns_probes=())
            runner = Runner(parts)
            runner.run()
            before = _scrape(port)
            time.sleep(seconds)
            values = runner.run().values
            after = _scrape(port)
        finally:
            exporter.kill()
    for name, ours, theirs in _pairs(values, before, after, seconds):
        shown = "NULL" if ours is None else f"{ours:,.6g}"
        show(f"ours / node_exporter: {name}", f"{shown} / {theirs:,.6g}")


def _pairs(ours, before, after, seconds):
    """Name, our value, theirs."""

    def grown(pattern):
        return _sum(after, pattern) - _sum(before, pattern)

    cpu = {m: grown(f'node_cpu_seconds_total.*mode="{m}"') for m in ("idle", "iowait", "steal")}
    total = grown("node_cpu_seconds_total")
    busy = total - sum(cpu.values())
    memory = {n: _sum(after, f"node_memory_{n}_bytes") for n in ("MemTotal", "MemAvailable")}
    yield "CPU busy, %", ours["cpu_percent"], 100 * busy / total
    yield "CPU steal, %", ours["cpu_steal_percent"], 100 * cpu["steal"] / total
    yield "CPU idle, %", ours["cpu_idle_percent"], 100 * (cpu["idle"] + cpu["iowait"]) / total
    yield "load 1m", ours["load_1m"], _sum(after, "node_load1 ")
    yield "memory total", ours["mem_total_bytes"], memory["MemTotal"]
    yield "memory available", ours["mem_available_bytes"], memory["MemAvailable"]
    yield "OOM kills", ours["oom_kills"], grown("node_vmstat_oom_kill")
    yield "PSI CPU, %", ours["psi_cpu_percent"], 100 * grown("node_pressure_cpu_waiting") / seconds
    yield "PSI I/O, %", ours["psi_io_percent"], 100 * grown("node_pressure_io_waiting") / seconds
    root = 'mountpoint="/"'
    yield "disk size", ours["disk_total_bytes"], _sum(after, f"node_filesystem_size_bytes.*{root}")
    yield "disk free", ours["disk_free_bytes"], _sum(after, f"node_filesystem_avail_bytes.*{root}")
    written = r'node_disk_written_bytes_total\{device="(vd|sd|nvme)'
    yield "disk written", ours["disk_write_bytes"], grown(written)
    for way, column in (("receive", "net_rx_bytes"), ("transmit", "net_tx_bytes")):
        pattern = rf'node_network_{way}_bytes_total\{{device="(?!lo)'
        yield f"network {way}", ours[column], grown(pattern)
    yield "TCP established", ours["net_established"], _sum(after, "node_netstat_Tcp_CurrEstab")
    yield "processes", ours["processes"], _sum(after, "node_processes_pids")


def _sum(metrics, pattern):
    return sum(value for name, value in metrics if re.match(pattern, name))


def _scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return [(name + " ", float(value)) for name, _, value in pairs]


def _answers(port):
    try:
        return _scrape(port)
    except OSError:
        return None
