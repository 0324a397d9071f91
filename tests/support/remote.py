"""A real HTTP or HTTPS server that plays the remote: keeps events, and is as rude as it is told.

`Remote.answer` is a status, or a function of the handler and the body that answers itself. Those
below are such functions, or make them.
"""

import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that give up are what the tests are about."""


class Remote:
    """A context manager. `events` by `trace_id`, `seen` counts how often each came, `batches` are
    those that were stored, `headers` has all requests, `bodies` their bodies.
    """

    def __init__(self, tls=None):
        self.answer = 200
        self.events = {}
        self.seen = Counter()
        self.batches = []
        self.headers = []
        self.bodies = []
        self.connections = 0
        self._gone = threading.Event()
        remote = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                remote.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                remote.headers.append({"path": self.path, **dict(self.headers)})
                remote.bodies.append(body)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                remote.do(remote.answer, self, body)

            def do_GET(self):
                remote.headers.append({"path": "GET " + self.path})
                reply(self, 200)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls is not None:
            self.server.socket = tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.port = self.server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}/ingest"

    def do(self, answer, handler, body):
        """Performs an answer, whatever its form."""
        if callable(answer):
            answer(handler, body)
            return
        if answer // 100 == 2:
            self.keep(body)
        reply(handler, answer)

    def keep(self, body):
        batch = json.loads(body, parse_constant=_refuse_constant)
        self.batches.append(batch)
        for event in batch["events"]:
            trace_id = event["data"]["trace_id"]
            self.seen[trace_id] += 1
            self.events[trace_id] = event

    def pause(self, seconds):
        """Sleeps, or until the test is over."""
        return self._gone.wait(seconds)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self._gone.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    # What a remote can do to a request.

    def cut_after_storing(self, handler, body):
        """The answer that is lost: a reset, not a polite end."""
        self.keep(body)
        reset(handler)

    def cut_in_head(self, handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        handler.wfile.flush()
        handler.close_connection = True

    def cut_in_body(self, handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{")
        handler.close_connection = True

    def hang(self, handler, body):
        """Never answers, as far as the client can tell."""
        self.pause(20)
        handler.close_connection = True

    def trickle_head(self, handler, body):
        """A byte now and then: each starts the time-outs of libraries anew."""
        self._trickle(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ")

    def trickle_body(self, handler, body):
        self._trickle(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")

    def _trickle(self, handler, start):
        handler.close_connection = True
        handler.wfile.write(start)
        for _ in range(200):
            if self.pause(0.1):
                return
            handler.wfile.write(b"x")

    def slow(self, seconds):
        def answer(handler, body):
            self.pause(seconds)
            self.do(200, handler, body)

        return answer

    def refuse(self, is_bad, status=400):
        """Refuses batches with a bad event in them, as one that validates does."""

        def answer(handler, body):
            is_refused = any(is_bad(event) for event in json.loads(body)["events"])
            self.do(status if is_refused else 200, handler, body)

        return answer

    def in_turn(self, *answers):
        """One for each request; the last one stays."""
        left = list(answers)

        def answer(handler, body):
            self.do(left.pop(0) if len(left) > 1 else left[0], handler, body)

        return answer


def reply(handler, status, body=b"", **headers):
    """`headers` with underscores for dashes."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def answering(status, body=b"", **headers):
    """Says this and stores nothing."""
    return lambda handler, _body: reply(handler, status, body, **headers)


def reset(handler, _body=None):
    """The connection ends with RST, before any answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def flood(handler, _body):
    """A good status and 300 MB."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(300 * 2**20))
    handler.end_headers()
    handler.close_connection = True
    for _ in range(300):
        handler.wfile.write(bytes(2**20))


def bomb(handler, _body):
    """A good status and 60 KB that are 60 MB when decompressed."""
    reply(handler, 200, gzip.compress(bytes(60 * 2**20), 9), Content_Encoding="gzip")


def saying(text):
    """Says this to the byte, then ends the connection."""

    def answer(handler, _body):
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


class Hasty:
    """A context manager: a server that reads no more than the beginning of a request, answers and
    resets the connection, as proxies do with a body that is too large for them.
    """

    def __init__(self, status, tls=None):
        self._answer = f"HTTP/1.1 {status} Hasty\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        port = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/ingest"

    def _serve(self):
        connection, _ = self._listener.accept()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            connection.recv(4096)
            connection.sendall(self._answer)
            time.sleep(0.1)  # a reset right behind the answer may be faster than it

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()


def chatter(handler, _body):
    """Not HTTP."""
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
    handler.close_connection = True


def _refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")
