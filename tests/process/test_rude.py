"""Clients that are slow, silent, false or do not close: others are served within seconds."""

import contextlib
import gzip
import hashlib
import inspect
import json
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import gunicorn
import pytest
from gunicorn import util
from gunicorn.http import parser
from gunicorn.workers import gthread

from tests.support import wait_until
from tests.support.gunicorn import Gunicorn, assert_balanced
from tracer.http_worker import HttpWorker

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SLOW = HEAD + b"Content-Length: 1000000\r\n\r\n"
EVENT = b'{"name":"n"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Gunicorn(tmp_path_factory.mktemp("rude")) as running:
        yield running


@pytest.fixture
def crowd(server):
    """Opens connections; closes them all at the end."""
    opened = []

    def connect(*parts):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        opened.append(client)
        for part in parts:
            client.sendall(part)
        return client

    yield connect
    for client in opened:
        client.close()


def is_served_soon(server, limit_s=5.0):
    """Whether another client is answered within the time, and then again at once."""
    started = time.monotonic()
    assert server.request("GET", "/health")[0] in (200, 503)  # full for a moment, perhaps
    took_s = time.monotonic() - started
    assert took_s < limit_s, f"{took_s:.1f} s"
    return took_s


def test_idle_connections_make_room(server, crowd):
    """More than the worker holds, each silent."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(min(2_000, hard - 500)):
        crowd()
    assert is_served_soon(server) < 5


def test_a_connection_that_speaks_as_it_makes_room_harms_nobody(tmp_path):
    """The poller finds the new connection and the words of the evicted one in the same turn."""
    with Gunicorn(tmp_path) as server, contextlib.ExitStack() as opened:

        def connect():
            client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            return opened.enter_context(client)

        (worker,) = server.worker_pids
        idle = [connect() for _ in range(530)]  # more than it holds
        wait_until(lambda: not idle[10].recv(1, socket.MSG_PEEK))  # made room
        os.kill(worker, signal.SIGSTOP)
        try:
            connect()
            for client in idle[11:50]:
                with contextlib.suppress(OSError):
                    client.sendall(b"G")
        finally:
            os.kill(worker, signal.SIGCONT)
        is_served_soon(server)
        assert server.worker_pids == [worker]


def test_a_connection_that_was_cut_short_is_not_drained():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        HttpWorker._drain(HttpWorker.__new__(HttpWorker), None, ours)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"G",
        b"POST /v1/events HT",
        HEAD,
        SLOW,
        SLOW + b"[",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12",
    ],
    ids=["silent", "byte", "line", "headers", "no body", "body", "chunk"],
)
def test_stalled_connections_do_not_freeze_others(server, crowd, part):
    for _ in range(40):
        crowd(part)
    is_served_soon(server)


def test_as_many_stalled_connections_as_fit_do_not_freeze_others(server, crowd):
    for _ in range(450):
        crowd(b"G")
    is_served_soon(server)


def test_slow_uploads_do_not_freeze_others(server, crowd):
    """A byte now and then, which no timeout of a single read would notice."""
    clients = [crowd(SLOW) for _ in range(16)]
    done = threading.Event()

    def trickle():
        while not done.wait(0.2):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        for _ in range(5):
            is_served_soon(server)
    finally:
        done.set()
        thread.join()


def test_peers_that_never_close_do_not_hold_up_others(server, crowd):
    request = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(EVENT), EVENT)
    clients = [crowd(request) for _ in range(30)]
    assert all(b" 202 " in client.recv(4096) for client in clients)
    assert is_served_soon(server) < 1.5


@pytest.mark.parametrize("sent", [b"[", EVENT], ids=["too little", "some"])
def test_a_body_shorter_than_announced_is_400_when_the_client_gives_up(server, crowd, sent):
    client = crowd(HEAD + b"Content-Length: 5000\r\n\r\n" + sent)
    client.shutdown(socket.SHUT_WR)
    assert b" 400 " in client.recv(4096)
    assert_balanced(server.health()["events"])


def test_a_body_longer_than_announced_is_no_second_event(server, crowd):
    client = crowd(HEAD + b"Content-Length: 12\r\n\r\n" + EVENT + EVENT + b"\r\n\r\n")
    answers = b""
    while received := client.recv(4096):
        answers += received
    assert answers.count(b" 202 ") == 1
    assert answers.count(b" 400 ") == 1  # what follows is no request


def test_a_huge_upload_is_refused_and_the_client_can_read_why(server, crowd):
    client = crowd(HEAD + b"Content-Length: 100000000\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(100):
            client.sendall(b" " * 10**6)
    assert b" 413 " in client.recv(4096)
    is_served_soon(server)


def test_a_huge_chunked_upload_is_refused(server, crowd):
    client = crowd(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(30):
            client.sendall(b"f4240\r\n" + b" " * 10**6 + b"\r\n")
    assert b" 413 " in client.recv(4096)


def resident_mb(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise AssertionError(name)


FULL = 8 * 1024**2
BODIES = {
    "text": json.dumps({"name": "n", "metadata": {"x": "y" * (FULL - 100)}}).encode(),
    "wide": b'{"name":"n","metadata":{"x":"%s"}}' % ("😀" * ((FULL - 100) // 4)).encode(),
    "strings": b'{"name":"n","metadata":{"x":[' + b'"a",' * ((FULL - 100) // 4) + b"1]}}",
    "members": b'{"name":"n"' + b',"a":1' * ((FULL - 100) // 6) + b"}",
    "named": b'{"name":"n","metadata":{"x":[' + b'{"password":"x"},' * (FULL // 18) + b"1]}}",
    "zeros": b"[" + b"0," * (FULL // 2 - 1) + b"0]",
    "deep": b"[" * FULL,
    "bomb": gzip.compress(b'{"name":"n","metadata":{"x":"' + b"y" * (FULL - 100) + b'"}}'),
    "larger bomb": gzip.compress(b'{"name":"n","metadata":{"x":"' + b"y" * 10 * FULL + b'"}}'),
    "events": b"["
    + b",".join([b'{"name":"n","metadata":{"x":"%s"}}' % (b"y" * 16000)] * 500)
    + b"]",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_full_body_costs_little_memory_and_gives_it_back(tmp_path, name):
    """Four at once, each as large as allowed: at most 45 MB more than idle at any time."""
    body = BODIES[name]
    headers = {"Content_Encoding": "gzip"} if "bomb" in name else {}
    with Gunicorn(tmp_path) as server:
        for _ in range(20):
            server.request("POST", "/v1/events", {"name": "n"})
        worker = server.worker_pids[0]
        idle_mb = resident_mb(worker, "VmRSS:")
        statuses = []

        def post():
            try:
                statuses.append(server.request("POST", "/v1/events", body, **headers)[0])
            except OSError:  # refused before it had sent all
                statuses.append(429)

        threads = [threading.Thread(target=post) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {202, 400, 413, 429}, statuses
        assert resident_mb(worker, "VmHWM:") - idle_mb < 45
        wait_until(lambda: resident_mb(worker, "VmRSS:") - idle_mb < 15)
        is_served_soon(server)
        assert_balanced(server.health()["events"])


INSIDES = {
    # what http_worker.py overrides or calls, as it is in the version it was written for
    gthread.TConn: "e3a2878ba952",
    gthread.ThreadWorker.__init__: "5681b8b542ea",
    gthread.ThreadWorker.init_process: "e4fc63a1a68e",
    gthread.ThreadWorker.accept: "f8dcead3dce5",
    gthread.ThreadWorker.enqueue_req: "c9f428953d24",
    gthread.ThreadWorker.on_pending_socket_readable: "2475f7087832",
    gthread.ThreadWorker.on_client_socket_readable: "aead1a3ea7b7",
    gthread.ThreadWorker.murder_keepalived: "4459960c4ccc",
    gthread.ThreadWorker.murder_pending: "7bf11f464542",
    gthread.ThreadWorker.wait_for_and_dispatch_events: "ea969b352482",
    gthread.ThreadWorker.run: "f92c7394d857",
    gthread.ThreadWorker.finish_request: "616e7bb15a00",
    gthread.ThreadWorker.handle: "ca85c9be3df7",
    gthread.ThreadWorker._keepalive_after: "4ebdbbc8bf5a",
    util.close_graceful: "0e5925bfc017",
    parser.Parser.finish_body: "54c5d0d28c26",
}


@pytest.mark.parametrize("inside", INSIDES, ids=lambda inside: inside.__qualname__)
def test_what_the_worker_relies_on_inside_gunicorn_is_as_it_was(inside):
    """Fails when gunicorn changes: read the new code beside ours, then note the new digest."""
    digest = hashlib.sha256(inspect.getsource(inside).encode()).hexdigest()[:12]
    assert digest == INSIDES[inside], f"{inside.__qualname__} of gunicorn {gunicorn.__version__}"
