"""Clients that remember what they were promised."""

import http.client
import json
import threading
import time
import uuid


class Load:
    """Posts calls from several threads at a steady rate until stopped; a context manager.

    `promised` has the trace ids of all that was accepted, with the moments when it was sent and
    when the answer had been read.
    """

    def __init__(self, port, *, per_s=300, clients=4, wait=False, size=0):
        self.port = port
        self.promised = {}
        self.refused = 0
        self.unanswered = 0
        self.stall_s = 0.0
        self.latencies_ms = []
        self._headers = {"Content-Type": "application/json"} | ({"Prefer": "wait"} if wait else {})
        self._padding = {"input_text": "x" * size} if size else {}
        self._pause_s = clients / per_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        connection = None
        while not self._pause():
            trace_id = str(uuid.uuid4())
            body = json.dumps(
                {"trace_id": trace_id, "provider": "p", "model": "m", **self._padding}
            )
            sent_at, began = time.time(), time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=10
                )
                connection.request("POST", "/v1/traces", body, self._headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                if connection is not None:
                    connection.close()
                connection = None
                continue
            self.latencies_ms.append((time.monotonic() - began) * 1000)
            if answer.status in (200, 202):
                self.promised[trace_id] = (sent_at, time.time())
            else:
                assert answer.status in (429, 503), answer.status
                self.refused += 1
        if connection is not None:
            connection.close()

    def _pause(self):
        """Waits; notes by how much the machine overslept."""
        started = time.monotonic()
        is_over = self._stop.wait(self._pause_s)
        self.stall_s = max(self.stall_s, time.monotonic() - started - self._pause_s)
        return is_over

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def p99_ms(self):
        """Of all answers, refusals included."""
        ordered = sorted(self.latencies_ms)
        return round(ordered[int(len(ordered) * 0.99)], 1) if ordered else None


def missing(load, server):
    """Trace ids that were promised and are not in the database."""
    stored = {row["trace_id"] for row in server.rows("SELECT trace_id FROM llm_traces")}
    return set(load.promised) - stored
