"""What `requests` leaves open: a request that can be cut short, and an answer that was cut short.

Imported with `requests` itself, at the first push.
"""

import contextlib
import http.client
import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter


class BoundedAdapter(HTTPAdapter):
    """One connection at a time, whose socket another thread can shut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False
        super().__init__(pool_connections=1, pool_maxsize=1)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = self._watched(pool.ConnectionCls)
        return pool

    def _watched(self, base: Any) -> Any:
        adapter = self

        class Connection(base):  # type: ignore[misc]
            response_class = _WholeResponse

            def _new_conn(self) -> socket.socket:
                connected: socket.socket = super()._new_conn()
                adapter._watch(connected)
                return connected

        return Connection

    def _watch(self, connected: socket.socket) -> None:
        """By a descriptor of our own: TLS takes that of a socket away from it."""
        with self._lock:
            self._forget()
            self._socket = connected.dup()
            if self._is_cut:
                self._shut()

    def cut(self) -> None:
        """Ends whatever the request waits for, now and later. Name resolution cannot be ended, but
        it ends by itself. Any thread.
        """
        with self._lock:
            self._is_cut = True
            self._shut()

    def close(self) -> None:
        with self._lock:
            self._forget()
        super().close()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                self._socket.shutdown(socket.SHUT_RDWR)
            self._forget()

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _WholeResponse(http.client.HTTPResponse):
    """Python takes a head that ends in the middle for a complete one, so for a confirmation."""

    def begin(self) -> None:
        lines: Any = _Lines(self.fp)
        self.fp = lines
        try:
            super().begin()
        finally:
            self.fp = lines.file
        if lines.last not in (b"\r\n", b"\n"):
            raise ConnectionResetError("the connection was cut within the head of the answer")


class _Lines:
    """A file that remembers the last line read."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
