"""A real sidecar that follows a log while it is written, stopped and killed."""

import itertools
import json
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.gunicorn import Gunicorn, assert_balanced
from tests.tracer.test_tailer import line


class Writer(threading.Thread):
    """A gateway that writes a numbered line every 2 ms and rotates every 200."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.written, self.is_over = path, 0, threading.Event()

    def run(self):
        for number in itertools.count(1):
            with self.path.open("a") as file:
                file.write(line(number))
            self.written = number
            if number % 200 == 0:
                self.path.rename(self.path.with_name(f"openclaw.{number // 200}.log"))
            if self.is_over.wait(0.002):
                return


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_sidecar_that_ends_in_the_middle_loses_and_doubles_no_line(tmp_path, signum):
    log = tmp_path / "openclaw.log"
    log.touch()
    writer = Writer(log)
    for cycle in range(3):
        with Gunicorn(tmp_path, TRACE_LOG_PATH=str(log)) as server:
            if cycle == 0:
                wait_until(lambda: "log" in _state(server))
                writer.start()
            time.sleep(0.4)
            if cycle < 2:
                (worker,) = server.worker_pids
                server.process.send_signal(signum)
                server.process.wait(20)
                wait_until(lambda pid=worker: not _lives(pid))
                continue
            writer.is_over.set()
            writer.join()
            wait_until(lambda: len(_numbers(server)) >= writer.written)
            assert sorted(_numbers(server)) == list(range(1, writer.written + 1))
            health = server.health()
            assert health["workers"]["tailer"]["alive"]
            assert health["warnings"] == []
            assert_balanced(health["events"])


def _state(server):
    return [row["name"] for row in server.rows("SELECT name FROM state")]


def _lives(pid):
    try:
        return b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _numbers(server):
    rows = server.rows("SELECT metadata FROM custom_events")
    return [int(json.loads(row["metadata"])["paths"].removeprefix("line.")) for row in rows]
