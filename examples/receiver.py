"""A remote for openclaw-trace: takes pushed batches and keeps the events in SQLite, each once.

    python3 examples/receiver.py --port 8080 --db events.db
    TRACE_PUSH_ENDPOINT=http://127.0.0.1:8080/ingest gunicorn

Standard library only. What makes it safe: the answer comes after the commit, and an event that is
sent again, since an answer was lost, only counts up `times`. `GET /` shows what has arrived.
"""

import argparse
import gzip
import hmac
import json
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY_BYTES = 64 * 2**20

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    type TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    agent_id TEXT,
    created_at INTEGER,            -- when it happened, milliseconds since the epoch
    arrived_at INTEGER NOT NULL,   -- when it came here first
    times INTEGER NOT NULL DEFAULT 1,
    data TEXT NOT NULL,            -- all fields, as JSON
    PRIMARY KEY (type, trace_id)   -- ids are unique per type
);
CREATE INDEX IF NOT EXISTS events_by_time ON events (created_at);
"""

INSERT = """
INSERT INTO events (type, trace_id, agent_id, created_at, arrived_at, data)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (type, trace_id) DO UPDATE SET times = times + 1
"""


class Database:
    """One connection for all requests, one at a time."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(SCHEMA)

    def store(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Commits what can be kept; the answer: how many, and which not and why."""
        rows, rejected = [], []
        now = time.time_ns() // 1_000_000
        for event in batch["events"]:
            name, data = event.get("type"), event.get("data")
            trace_id = data.get("trace_id") if isinstance(data, dict) else None
            if not isinstance(name, str) or not isinstance(trace_id, str):
                rejected.append({"trace_id": trace_id, "reason": "no type or no trace_id"})
                continue
            agent_id = data.get("agent_id", batch.get("agent_id"))
            text = json.dumps(data, ensure_ascii=False)
            rows.append((name, trace_id, agent_id, data.get("created_at"), now, text))
        with self._lock, self._connection:
            self._connection.executemany(INSERT, rows)
        return {"accepted": len(rows), "rejected": rejected}

    def summary(self) -> dict[str, Any]:
        """Events by type, and how many of them came more than once."""
        query = "SELECT type, count(*), sum(times > 1) FROM events GROUP BY type"
        with self._lock:
            rows = self._connection.execute(query).fetchall()
        return {name: {"events": count, "came_again": again} for name, count, again in rows}


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1, so that the batches of a pass share a connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    database: Database
    key = ""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413, {"error": f"at most {MAX_BODY_BYTES} bytes"})
        body = self.rfile.read(length)
        if not self._is_allowed():
            return self._answer(401, {"error": "the key is missing or wrong"})
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            batch = json.loads(body)
            answer = self.database.store(batch)
        except sqlite3.OperationalError as error:  # a full disk, a locked file: later
            return self._answer(503, {"error": str(error)})
        except Exception as error:
            return self._answer(400, {"error": f"not a batch: {error}"})
        return self._answer(200, answer)

    def do_GET(self) -> None:
        self._answer(200, self.database.summary())

    def _is_allowed(self) -> bool:
        sent = self.headers.get("Authorization", "").encode()
        return not self.key or hmac.compare_digest(sent, f"Bearer {self.key}".encode())

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """One line per request would only repeat what the sidecar's push_log says."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one")
    parser.add_argument("--db", default="events.db")
    parser.add_argument("--key", default="", help="what the sidecar has in TRACE_PUSH_API_KEY")
    options = parser.parse_args()
    Handler.database, Handler.key = Database(options.db), options.key
    with ThreadingHTTPServer((options.host, options.port), Handler) as server:
        print(f"TRACE_PUSH_ENDPOINT=http://{options.host}:{server.server_port}/ingest", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
