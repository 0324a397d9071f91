"""gunicorn's threaded worker, made robust against clients that are slow, silent or do not close.

The stock worker lends a thread to each of them for seconds, so that a few freeze all others. Here
the main thread holds connections that wait for their first byte or for the peer's close, and cuts
off those that keep a thread waiting. What it relies on inside gunicorn is pinned by a test.
"""

import array
import contextlib
import errno
import fcntl
import socket
import termios
import time
from collections import deque
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker

FIRST_BYTE_S: Final = 15.0
"""A new connection may stay silent this long, unless its place is needed."""

READ_S: Final = 10.0
"""Longest time a request may take to arrive while threads are idle."""

SHARED_S: Final = 0.5
"""The same while others wait for a thread; less when many do, so that all had one in `CLEAR_S`."""
CLEAR_S: Final = 2.0
ANSWER_S: Final = 30.0
"""A thread that still writes to a client after this time is taken away when others wait."""

CHECK_S: Final = 0.25
DRAIN_S: Final = 0.2
LINGER_S: Final = 5.0
MAX_LINGERING: Final = 128
_NO_MORE_FILES: Final = (errno.EMFILE, errno.ENFILE)


class Connection(TConn):
    """Closes gracefully (RFC 9112, 9.6) without blocking: its worker waits for the peer."""

    def __init__(self, worker: "HttpWorker", *args: Any) -> None:
        super().__init__(worker.cfg, *args)
        self._worker = worker
        self.ends_at = 0.0
        """When to close what the peer does not (monotonic)."""

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self)
        else:
            super().close()


class HttpWorker(ThreadWorker):
    """All but `handle` runs in the worker's main thread."""

    def init_process(self) -> None:
        self._queued: dict[TConn, None] = {}
        self._most_queued = 0
        self._busy: dict[TConn, float] = {}
        self._lingering: deque[Connection] = deque()
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Takes a connection and lets the poller wait for its first byte."""
        if self.nr_conns >= self.worker_connections - 1:
            self._evict()
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                self._evict()
            return  # gone again, or the next turn tries
        self.nr_conns += 1
        connection = Connection(self, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + FIRST_BYTE_S
        self.pending_conns.append(connection)
        self._watch(connection, partial(self.on_pending_socket_readable, connection))

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Nothing for one that made room for another after the poller had found it readable."""
        if client.fileno() >= 0:
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """The same for one that was kept alive."""
        if client.fileno() >= 0:
            super().on_client_socket_readable(conn, client)

    def enqueue_req(self, conn: TConn) -> None:
        self._queued[conn] = None
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Runs in a thread of the pool."""
        self._busy[conn] = time.monotonic()
        self._queued.pop(conn, None)
        try:
            return super().handle(conn)
        finally:
            self._busy.pop(conn, None)

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        if self._busy or self._lingering:
            check_s = min(CHECK_S, self._patience_s())
            timeout = check_s if timeout is None else min(timeout, check_s)
        super().wait_for_and_dispatch_events(timeout)
        self._cut_slow()
        now = time.monotonic()
        while self._lingering and self._lingering[0].ends_at < now:
            self._end(self._lingering[0])

    def linger(self, conn: Connection) -> None:
        """Says that nothing more will be sent; closes once the peer did, or after `LINGER_S`."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            conn.close()
            return
        if len(self._lingering) >= MAX_LINGERING:
            self._end(self._lingering[0])
        conn.ends_at = time.monotonic() + LINGER_S
        self._lingering.append(conn)
        self._watch(conn, partial(self._drain, conn))

    def _drain(self, conn: Connection, client: socket.socket) -> None:
        """Reads what the peer still sends: a close with it unread would destroy our answer."""
        if client.fileno() < 0:
            return  # ended for another after the poller had found it readable
        try:
            if conn.sock.recv(262_144):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end(conn)

    def _end(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        conn.close()

    def _watch(self, conn: Connection, callback: Any) -> None:
        self.poller.register(conn.sock, 1, callback)  # selectors.EVENT_READ

    def _evict(self) -> None:
        """Closes the idle connection that waited longest; rather one that never said a word."""
        for idle in (self.pending_conns, self.keepalived_conns):
            if idle:
                conn = idle.popleft()
                self.poller.unregister(conn.sock)
                self.nr_conns -= 1
                conn.close()
                return

    def _cut_slow(self) -> None:
        """Ends the reading of requests that take too long to arrive. To the thread it looks as if
        the client had closed; a request that is complete does not notice. Where bytes lie unread,
        the client is not the one to blame.
        """
        if not self._busy:
            return
        now, waiting, patience_s = time.monotonic(), len(self._queued), self._patience_s()
        for conn, since in list(self._busy.items()):
            if now - since > patience_s:
                is_long = waiting and now - since > ANSWER_S
                with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                    if is_long and _has_unsent(conn.sock):  # else it works, as a profile does
                        conn.sock.shutdown(socket.SHUT_RDWR)
                    elif not _has_unread(conn.sock):
                        conn.sock.shutdown(socket.SHUT_RD)

    def _patience_s(self) -> float:
        """How long a request may take to arrive, the less the more others wait for a thread: by
        the most of the crowd that still waits, or its last ones would have time and time again.
        """
        if not self._queued:
            self._most_queued = 0
            return READ_S
        self._most_queued = max(self._most_queued, len(self._queued))
        return min(SHARED_S, CLEAR_S * int(self.cfg.threads) / self._most_queued)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether another request may follow; a body that was refused is drained elsewhere."""
        parser: Any = conn.parser
        return bool(keepalive and parser.finish_body(deadline=time.monotonic() + DRAIN_S))


def _has_unread(sock: socket.socket) -> bool:
    """Whether the kernel holds bytes that we have not read (tcp(7), FIONREAD)."""
    return _queued_bytes(sock, termios.FIONREAD) > 0


def _has_unsent(sock: socket.socket) -> bool:
    """Whether the kernel holds bytes that the client has not taken (tcp(7), SIOCOUTQ)."""
    return _queued_bytes(sock, termios.TIOCOUTQ) > 0


def _queued_bytes(sock: socket.socket, request: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), request, count)
    return count[0]
