"""A real gunicorn with the project's configuration, as a child process."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.support import wait_until

PROJECT = Path(__file__).parent.parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gunicorn:
    """Starts on `with`, has answered `/health` once by then, and is gone afterwards."""

    def __init__(self, folder, conf="gunicorn.conf.py", **environ):
        self.port = free_port()
        self.database = Path(folder) / "trace.db"
        self.log_path = Path(folder) / f"gunicorn-{self.port}.log"
        self.conf = conf
        self.first_answer_s = float("nan")
        self.environ = {
            "PATH": os.environ["PATH"],
            "TRACE_BIND": f"127.0.0.1:{self.port}",
            "TRACE_DB_PATH": str(self.database),
            # What happens on this machine is of no concern to a test that does not ask for it.
            "TRACE_METRICS_INTERVAL": "1h",
            "TRACE_DNS_PROBES": "",
            "TRACE_WATCH_PROCESS": "",
            **environ,
        }

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn.app.wsgiapp", "-c", self.conf],
                cwd=PROJECT,
                env=self.environ,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __enter__(self):
        started = time.monotonic()
        self.start()
        wait_until(self.answers, 15)
        self.first_answer_s = time.monotonic() - started
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            finally:
                self.process.kill()
                self.process.wait()

    def answers(self):
        """Whether a request got an answer that is no server error."""
        if self.process.poll() is not None:
            raise AssertionError(self.log_path.read_text())
        try:
            return self.request("GET", "/health")[0] < 500
        except OSError:
            return False

    def request(self, method, path, body=None, **headers):
        """Status and answer, JSON parsed; `headers` with underscores for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None:
                sent.setdefault("Content-Type", "application/json")
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            received = answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(received or b"null") if is_json else received
        finally:
            connection.close()

    def post(self, path, body, **headers):
        return self.request("POST", path, body, **headers)

    def health(self):
        return self.request("GET", "/health")[1]

    def stop(self, signum=signal.SIGTERM):
        """Sends a signal to the master; the exit code and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signum)
        code = self.process.wait(30)
        return code, time.monotonic() - started

    @property
    def worker_pids(self):
        master = self.process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text()
        return [int(pid) for pid in children.split()]

    def rows(self, sql, *parameters):
        """What an independent reader sees in the database."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]
        finally:
            connection.close()

    def log_lines(self):
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


def assert_balanced(events):
    """The ledger of `/health` adds up."""
    assert events["received"] == events["accepted"] + sum(events["rejected"].values())
    settled = events["stored"] + events["duplicate"] + sum(events["lost"].values())
    assert events["accepted"] == settled + events["queued"]
    rows = events["rows"]
    kept = rows["pushed"] + rows["unpushed"] + rows["refused"]
    assert rows["stored"] == kept + sum(rows["deleted"].values())
