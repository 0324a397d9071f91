"""A real HTTP server that plays the remote: keeps events by `trace_id`, answers as told."""

import gzip
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Remote:
    """A context manager. `answer` is a status, or a function of the handler that answers itself."""

    def __init__(self):
        self.answer = 200
        self.events = {}
        self.seen = Counter()
        self.batches = []
        self.headers = []
        remote = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                remote.headers.append({"path": self.path, **dict(self.headers)})
                answer = remote.answer
                if callable(answer):
                    answer(self, body)
                    return
                if answer == 200:
                    remote.keep(body)
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                remote.headers.append({"path": "GET " + self.path})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ingest"

    def keep(self, body):
        batch = json.loads(body, parse_constant=_refuse_constant)
        self.batches.append(batch)
        for event in batch["events"]:
            trace_id = event["data"]["trace_id"]
            self.seen[trace_id] += 1
            self.events[trace_id] = event

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def hang(handler, _body):
    """Never answers, as far as the client can tell."""
    time.sleep(3)
    handler.close_connection = True


def trickle(handler, _body):
    """One byte of header now and then, for longer than any deadline of a test."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    try:
        for _ in range(40):
            handler.wfile.write(b"x")
            time.sleep(0.1)
    except OSError:
        pass
    handler.close_connection = True


def redirect(handler, _body):
    handler.send_response(302)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")
