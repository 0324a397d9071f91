"""From a request to its body: reading and decompressing, both bounded."""

import gc
import io
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import falcon
from gunicorn.http.errors import ParseException

from tracer.errors import EventError
from tracer.ledger import Rejection

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

PART_BYTES: Final = 65536
LARGE_BYTES: Final = 256 * 1024
"""A larger body has to wait its turn."""

MAX_LARGE: Final = 3
"""So many may wait for it, each in a thread that could serve others."""

LARGE_WAIT_S: Final = 3.0
DRAIN_S: Final = 1.0

MAX_GZIP_MEMBERS: Final = 64
"""Each further member copies what is left of the body."""

_GZIP: Final = 31
"""zlib's window bits for "gzip only"."""


def media_type(request: falcon.Request) -> str:
    """The media type without its parameters; raises EventError unless it is one of ours."""
    sent: str = request.env.get("CONTENT_TYPE", "")
    if sent == JSON:
        return sent
    sent = sent.partition(";")[0].strip().lower()
    if sent not in (JSON, NDJSON):
        raise EventError(
            Rejection.UNSUPPORTED_TYPE,
            f"send the header Content-Type: {JSON}, or {NDJSON} for one object per line "
            f"(this request has {sent or 'none'})",
        )
    return sent


class BodyReader:
    """Reads bodies, decompressed, of at most `max_bytes`. Any thread.

    Memory stays bounded because only one large body is in work at a time, and a few wait for it.
    """

    def __init__(
        self, max_bytes: int, drained: Callable[[float], object] = lambda _timeout_s: None
    ) -> None:
        """`drained` waits until what came before is stored, so that two are never held at once."""
        self._max_bytes = max_bytes
        self._drained = drained
        self._large = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MAX_LARGE)

    @contextmanager
    def body(self, request: falcon.Request) -> Iterator[list[bytes]]:
        """The whole body, to be popped, so that it is freed as soon as it is not needed; large ones
        hold others up until the block ends.

        Raises EventError when it is too large, cut off or not gzip, or too many large ones are in
        work. Blocks on a slow client, as long as the server lets it.
        """
        encoding = request.env.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise EventError(
                Rejection.UNSUPPORTED_ENCODING, f"Content-Encoding {encoding}: send gzip or none"
            )
        length = request.content_length
        if length is not None and length > self._max_bytes:
            raise self._too_large()
        with _Turn(self._large, self._waiting, self._drained) as turn:
            held = [self._collect(self._parts(request, length), turn)]
            if encoding == "gzip":
                held = [self._collect(_gunzip(held.pop()), turn)]
            yield held

    def _collect(self, parts: Iterator[bytes], turn: "_Turn") -> bytes:
        """Joins the parts; enters the turn once there are more than small bodies have."""
        body, size = io.BytesIO(), 0
        for part in parts:
            if size <= LARGE_BYTES < size + len(part):
                turn.take()
            size += body.write(part)
            if size > self._max_bytes:
                raise self._too_large()
        return body.getvalue()

    def _parts(self, request: falcon.Request, length: int | None) -> Iterator[bytes]:
        """A chunked body has no length: Falcon's bounded stream would be empty."""
        stream, size = request.env["wsgi.input"], 0
        try:
            while length is None or size < length:
                part = stream.read(PART_BYTES if length is None else min(PART_BYTES, length - size))
                if not part:
                    break
                size += len(part)
                yield part
        except OSError as error:
            raise EventError(Rejection.INCOMPLETE, "the body did not arrive in time") from error
        except ParseException as error:  # the server's, for chunks that are none
            raise EventError(Rejection.INCOMPLETE, f"the body is malformed: {error}") from error
        if length is not None and size < length:
            raise EventError(
                Rejection.INCOMPLETE, f"the body ends after {size} of {length} announced bytes"
            )

    def _too_large(self) -> EventError:
        return EventError(Rejection.TOO_LARGE, f"the body is larger than {self._max_bytes} bytes")


class _Turn:
    """The right to hold a large body, given to one at a time."""

    def __init__(
        self,
        large: threading.Lock,
        waiting: threading.BoundedSemaphore,
        drained: Callable[[float], object],
    ) -> None:
        self._drained = drained
        self._large = large
        self._waiting = waiting
        self._is_taken = False

    def take(self) -> None:
        """Blocks for at most `LARGE_WAIT_S`; taking it again does nothing. Raises EventError."""
        if self._is_taken:
            return
        if self._waiting.acquire(blocking=False):
            self._is_taken = self._large.acquire(timeout=LARGE_WAIT_S)
            self._waiting.release()
        if not self._is_taken:
            raise EventError(Rejection.QUEUE_FULL, "too many large bodies at once, try again")
        self._drained(DRAIN_S)

    def __enter__(self) -> "_Turn":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_taken:
            gc.collect()  # what is left of it in cycles would stay for long
            self._large.release()


def _gunzip(body: bytes) -> Iterator[bytes]:
    """All members of the gzip file, as RFC 1952 allows several, in parts."""
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            while not member.eof:
                part = member.decompress(body, PART_BYTES)
                body = member.unconsumed_tail
                if not part and not body and not member.eof:
                    raise EventError(Rejection.INCOMPLETE, "the gzip body is cut off")
                yield part
        except zlib.error as error:
            raise EventError(Rejection.INCOMPLETE, f"the body is not gzip: {error}") from None
        body = member.unused_data
        if not body:
            return
    raise EventError(
        Rejection.INCOMPLETE, f"the gzip body has more than {MAX_GZIP_MEMBERS} members"
    )
