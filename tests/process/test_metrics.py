"""The sampler in a real gunicorn, on the machine as it is."""

import itertools
import os
import signal
import subprocess
import sys
import time

import psutil

from tests.support import wait_until
from tests.support.gunicorn import Gunicorn, assert_balanced


def child(name):
    """A process that calls itself `name` in its command line, and sleeps."""
    return subprocess.Popen([name, "-c", "import time\ntime.sleep(600)"], executable=sys.executable)


CRASHES = "SELECT * FROM error_events WHERE category = 'process_crash' ORDER BY id"
"""Another test may have somebody killed for lack of memory meanwhile."""


def system_rows(server):
    return server.rows("SELECT * FROM system_metrics ORDER BY id")


def test_rows_of_the_host_are_stored_counted_and_pushed(tmp_path, remote):
    with Gunicorn(
        tmp_path,
        TRACE_METRICS_INTERVAL="1s",
        TRACE_PUSH_ENDPOINT=remote.url,
        TRACE_PUSH_INTERVAL="1s",
        TRACE_DNS_PROBES="localhost",
    ) as server:
        wait_until(lambda: len(system_rows(server)) >= 3, 20)
        rows = system_rows(server)
        master = psutil.Process(server.process.pid)
        (worker,) = master.children()
        assert (
            rows[-1]["tracer_rss_bytes"] == worker.memory_info().rss
            or abs(rows[-1]["tracer_rss_bytes"] - worker.memory_info().rss) < 4 * 2**20
        )
        assert rows[-1]["mem_total_bytes"] == psutil.virtual_memory().total
        assert [row["dns_failures"] for row in rows if row["dns_failures"] is not None] == [0]
        assert {row["gateway_up"] for row in rows} == {None}
        assert server.rows("SELECT count(*) AS n FROM process_metrics")[0]["n"] >= 3
        assert server.post("/v1/metrics", {"cpu_percent": 1})[0] == 405
        wait_until(
            lambda: (
                {"system_metric", "process_metric"} <= {e["type"] for e in remote.events.values()}
            )
        )
        health = server.health()
        assert health["workers"]["sampler"]["failures"] == 0
        assert health["warnings"] == []
        assert server.stop()[0] == 0
    pushed = next(e["data"] for e in remote.events.values() if e["type"] == "system_metric")
    assert 0 <= pushed["cpu_percent"] <= 100
    assert pushed["cpu_scope"] in ("host", "cgroup_v1", "cgroup_v2")
    assert pushed["agent_id"]


def test_a_killed_gateway_is_reported_once_and_the_ledger_adds_up(tmp_path):
    gateway = child("watched-agent-for-this-test")
    try:
        with Gunicorn(
            tmp_path, TRACE_METRICS_INTERVAL="1s", TRACE_WATCH_PROCESS="^watched-agent-for-this-t"
        ) as server:
            wait_until(
                lambda: [r for r in system_rows(server) if r["gateway_pid"] == gateway.pid], 20
            )
            gateway.send_signal(signal.SIGKILL)
            wait_until(lambda: server.rows(CRASHES), 20)
            gateway.wait()  # a zombie until here
            again = child("watched-agent-for-this-test")
            try:
                wait_until(lambda: system_rows(server)[-1]["gateway_pid"] == again.pid, 20)
            finally:
                again.kill()
                again.wait()
            wait_until(lambda: len(server.rows(CRASHES)) == 2, 20)
            passes = len(system_rows(server))
            wait_until(lambda: len(system_rows(server)) >= passes + 3, 20)
            first, second = server.rows(CRASHES)
            assert system_rows(server)[-1]["gateway_up"] == 0
            assert_balanced(server.health()["events"])
    finally:
        gateway.kill()
        gateway.wait()
    assert (first["error_type"], first["category"]) == ("crash", "process_crash")
    assert str(gateway.pid) in first["message"]
    assert '"exit_signal":"SIGKILL"' in first["metadata"] or os.getuid() != 0
    assert str(again.pid) in second["message"]
    rows = server.rows("SELECT is_gateway, name FROM process_metrics WHERE pid = ?", gateway.pid)
    assert 1 in {row["is_gateway"] for row in rows}


def test_a_stop_during_a_pass_is_not_late(tmp_path):
    with Gunicorn(tmp_path, TRACE_METRICS_INTERVAL="10ms") as server:
        wait_until(lambda: len(system_rows(server)) > 20, 20)
        code, seconds = server.stop()
        assert code == 0
        assert seconds < 5
        assert "did not end in time" not in server.log_path.read_text()
    stored = server.rows("SELECT value FROM row_counts WHERE name = 'stored'")[0]["value"]
    kept = sum(
        server.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]
        for table in ("system_metrics", "process_metrics")
    )
    assert stored == kept


def test_after_a_reload_one_instance_samples(tmp_path):
    with Gunicorn(tmp_path, TRACE_METRICS_INTERVAL="500ms") as server:
        wait_until(lambda: len(system_rows(server)) >= 2, 20)
        server.process.send_signal(signal.SIGHUP)
        count = len(system_rows(server))
        wait_until(lambda: len(system_rows(server)) >= count + 6, 30)
        times = [row["created_at"] for row in system_rows(server)]
        assert min(b - a for a, b in itertools.pairwise(times)) > 200
        assert time.time() * 1000 - times[-1] < 20_000
