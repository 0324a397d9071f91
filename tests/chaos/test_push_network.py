"""A real sidecar pushes to a real receiver over a bad network."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support import wait_until
from tests.support.backlog import fill
from tests.support.faults import ONLY_LONG
from tests.support.gunicorn import PROJECT, Gunicorn
from tests.support.network import REMOTE, Network
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.fault, ONLY_LONG]

ROWS = 3000
TIMEOUT_S = 2
BUDGET_S = 4
FAULT_S = 6


class Sidecar(Gunicorn):
    """One in the namespace, which only its files can be seen of from outside."""

    def __init__(self, folder, network, url):
        super().__init__(
            folder,
            TRACE_PUSH_ENDPOINT=url,
            TRACE_PUSH_INTERVAL="200ms",
            TRACE_PUSH_TIMEOUT=f"{TIMEOUT_S}s",
            TRACE_PUSH_MAX_BYTES="200KB",
            TRACE_SHUTDOWN_TIMEOUT=f"{BUDGET_S}s",
        )
        self._prefix = network.sidecar

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "gunicorn.app.wsgiapp", "-c", self.conf],
                cwd=PROJECT,
                env=self.environ,
                stderr=log,
                start_new_session=True,
            )
        return self

    def answers(self):
        assert self.process.poll() is None, self.log_path.read_text()
        return "Booting worker" in self.log_path.read_text()

    def pushed(self):
        return self.rows("SELECT count(pushed_at) AS n FROM llm_traces")[0]["n"]

    def log(self, columns):
        return [tuple(row.values()) for row in self.rows(f"SELECT {columns} FROM push_log")]


@pytest.fixture
def network():
    with Network() as running:
        yield running


@pytest.fixture
def receiver(tmp_path, network):
    with Receiver(tmp_path, "--host", REMOTE, prefix=network.remote) as running:
        yield running


def assert_nothing_is_marked_that_is_not_there(server, receiver):
    marked = server.rows("SELECT trace_id FROM llm_traces WHERE pushed_at IS NOT NULL")
    there = {row[0] for row in receiver.rows("SELECT trace_id FROM events")}
    assert {row["trace_id"] for row in marked} <= there


FAULTS = {
    "loss of 20 %": lambda network: network.lose(20),
    "2 Mbit/s": lambda network: network.limit("2mbit"),
    "blackhole": lambda network: network.blackhole(),
    "reset": lambda network: network.reset(),
    "unplugged": lambda network: network.unplug(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_network_does_everything_arrives(tmp_path, network, receiver, figure, fault):
    fill(tmp_path / "trace.db", calls=ROWS, text_bytes=800)
    with Sidecar(tmp_path, network, receiver.url) as server:
        wait_until(server.pushed, 20)
        FAULTS[fault](network)
        during = server.pushed()
        over = time.monotonic() + FAULT_S
        wait_until(lambda: server.pushed() == ROWS or time.monotonic() > over, FAULT_S + 5)
        during = server.pushed() - during
        assert_nothing_is_marked_that_is_not_there(server, receiver)
        network.heal()
        healed = time.monotonic()
        wait_until(lambda: server.pushed() == ROWS, 60)
        recovery_s = time.monotonic() - healed
        longest_ms = max(duration for (duration,) in server.log("duration_ms"))
        failed = server.log("status").count(("failed",))
    events, deliveries = receiver.counts()
    assert events == ROWS
    assert longest_ms < (TIMEOUT_S + 1) * 1000
    figure(
        pushed_meanwhile=during,
        failed=failed,
        longest_request_ms=longest_ms,
        recovery_s=round(recovery_s, 1),
        duplicates=deliveries - events,
    )


@pytest.mark.parametrize("fault", ["blackhole", "dead DNS"])
def test_a_dead_network_does_not_delay_the_exit_and_loses_nothing(
    tmp_path, network, receiver, figure, fault
):
    fill(tmp_path / "trace.db", calls=500)
    url = receiver.url
    if fault == "blackhole":
        network.blackhole()
    else:
        network.dead_resolver()
        url = url.replace(REMOTE, "collector.internal")
    with Sidecar(tmp_path, network, url) as server:
        wait_until(lambda: server.log("status"), 20)
        time.sleep(0.5)  # amid the next one
        code, seconds = server.stop(signal.SIGTERM)
        assert code == 0
        assert seconds < BUDGET_S + 1
        assert not os.path.exists(f"{server.database}-wal")
        longest_ms = max(duration for (duration,) in server.log("duration_ms"))
        assert longest_ms < (TIMEOUT_S + 1) * 1000
    network.heal()
    with Sidecar(tmp_path, network, receiver.url) as server:
        wait_until(lambda: server.pushed() == 500, 30)
    assert receiver.counts()[0] == 500
    figure(exit_s=round(seconds, 1), longest_request_ms=longest_ms)
