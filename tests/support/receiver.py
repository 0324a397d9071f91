"""The receiver of `examples/`, as the user starts it."""

import json
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

from tests.support.gunicorn import PROJECT


class Receiver:
    """A process of its own; a context manager. `url` is what the sidecar pushes to."""

    def __init__(self, folder, *options, port=0, prefix=()):
        self.database = folder / "received.db"
        self._command = [
            *prefix,
            *(sys.executable, str(PROJECT / "examples" / "receiver.py")),
            *("--port", str(port), "--db", str(self.database), *options),
        ]

    def __enter__(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip().partition("=")[2]
        assert self.url, "the receiver did not start"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def rows(self, sql):
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def counts(self):
        """Events, and how many times they came."""
        return self.rows("SELECT count(*), coalesce(sum(times), 0) FROM events")[0]

    def summary(self):
        with urllib.request.urlopen(self.url.replace("/ingest", "/")) as answer:
            return json.load(answer)
