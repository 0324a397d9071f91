"""What `requests` leaves open: a request that can be cut short, a request or an answer that was cut
short, and what a session keeps of answers.

Imported with `requests` itself, at the first push.
"""

import contextlib
import errno
import http.client
import socket
import ssl
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

MAX_HEAD_BYTES: Final = 65536
"""Python takes a hundred lines of this size each."""

_SWITCHING_PROTOCOLS: Final = 101


class PlainSession(requests.Session):
    """Keeps no cookies, which would grow with each answer, and does not look at redirects: even
    one that is not to be followed has its body read to the end, however long, and decompressed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, _response: requests.Response) -> None:
        return None


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
            _is_half_sent = False

            def request(self, *args: Any, **kwargs: Any) -> None:
                self._is_half_sent = False
                super().request(*args, **kwargs)

            def send(self, data: Any) -> None:
                """A remote that stops reading may have said why, as with 413: `urllib3` goes on to
                its answer after this error alone, which over TLS would be another.
                """
                try:
                    super().send(data)
                except (ConnectionError, ssl.SSLError) as error:
                    self._is_half_sent = True
                    raise BrokenPipeError(errno.EPIPE, "the remote stopped reading") from error

            def getresponse(self) -> Any:
                response = super().getresponse()
                if self._is_half_sent and 200 <= response.status < 300:
                    why = f"the remote answered {response.status} to a batch it had not read"
                    raise ConnectionResetError(errno.ECONNRESET, why)
                return response

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
    """Python takes a head that ends in the middle for a complete one, so for a confirmation, and
    an interim answer other than 100 (RFC 9110, 15.2) for the answer.
    """

    def begin(self) -> None:
        lines: Any = _Lines(self.fp)
        self.fp = lines
        try:
            super().begin()
            while self.status < 200 and self.status != _SWITCHING_PROTOCOLS:
                self.headers: Any = None  # begins anew
                super().begin()
        finally:
            self.fp = lines.file
        if lines.last not in (b"\r\n", b"\n"):
            raise ConnectionResetError("the connection was cut within the head of the answer")


class _Lines:
    """A file that remembers the last line read, and has only so many."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.last = b""
        self._left_bytes = MAX_HEAD_BYTES

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        self._left_bytes -= len(self.last)
        if self._left_bytes < 0:
            raise http.client.LineTooLong("head of the answer")
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
