"""The remote is away for a day, which lasts half a minute here, while the agent goes on working."""

import http.client
import json
import threading
import time

import pytest

from bench import load
from tests.support import wait_until
from tests.support.faults import ONLY_LONG
from tests.support.gunicorn import Gunicorn, assert_balanced, free_port
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.fault, ONLY_LONG]

CALLS, SAMPLES = 20_000, 5_760
PASSES = 288  # one in five minutes
INTERVAL_S = 0.1
PROBE_PER_S = 100


class Day(threading.Thread):
    """Reports the events of a day, evenly."""

    def __init__(self, port):
        super().__init__()
        self._port = port

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {"Content-Type": "application/x-ndjson", "Prefer": "wait"}
        rounds = 160
        call = json.dumps(load.CALL)
        sample = json.dumps({"name": "sample", "metadata": {f"value_{n}": n for n in range(30)}})
        started = time.monotonic()
        for number in range(rounds):
            for path, line, count in (
                ("/v1/traces", call, CALLS // rounds),
                ("/v1/events", sample, SAMPLES // rounds),
            ):
                connection.request("POST", path, "\n".join([line] * count), headers)
                answer = connection.getresponse()
                assert (answer.status, json.loads(answer.read())["accepted"]) == (200, count)
            due = started + (number + 1) * PASSES * INTERVAL_S / rounds
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()


def p99_ms(port, seconds):
    total = int(PROBE_PER_S * seconds)
    _, latencies = load.run(port, load.SINGLE, total=total, connections=2, per_s=PROBE_PER_S)
    return round(load.percentile(latencies, 0.99), 1), total


def test_a_day_without_the_remote(tmp_path, figure):
    port = free_port()
    with Gunicorn(
        tmp_path,
        TRACE_PUSH_ENDPOINT=f"http://127.0.0.1:{port}/ingest",
        TRACE_PUSH_INTERVAL=f"{INTERVAL_S}s",
        TRACE_QUEUE_CAPACITY="1000",
    ) as server:
        usual_ms, probes = p99_ms(server.port, 10)
        day = Day(server.port)
        day.start()
        day.join()
        health = server.health()
        assert health["push_breaker"] in ("open", "half_open")
        assert health["status"] == "ok"
        assert health["unpushed"] == CALLS + SAMPLES + probes
        with Receiver(tmp_path, port=port) as receiver:
            started = time.monotonic()
            recovery_ms, more = p99_ms(server.port, 4)
            wait_until(lambda: server.health()["unpushed"] == 0, 60)
            seconds = time.monotonic() - started
            events, deliveries = receiver.counts()
        health = server.health()
        tried = server.rows("SELECT count(*) AS n FROM push_log WHERE status = 'failed'")[0]["n"]
        assert health["push_breaker"] == "closed"
        assert_balanced(health["events"])
        assert server.stop()[0] == 0
    assert events == CALLS + SAMPLES + probes + more
    figure(
        events=events,
        failed_passes=tried,
        duplicates=deliveries - events,
        delivered_after_s=round(seconds, 1),
        ingest_p99_ms=usual_ms,
        ingest_p99_during_recovery_ms=recovery_ms,
    )
