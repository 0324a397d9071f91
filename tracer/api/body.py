"""From a request to the texts of its events: reading, decompressing, splitting. All bounded."""

import io
import zlib
from typing import Any, Final

import falcon
import msgspec
from gunicorn.http.errors import ParseException
from msgspec import Raw

from tracer import json_text
from tracer.errors import EventError
from tracer.ledger import Rejection

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

MAX_EVENTS: Final = 10_000
"""Most events in one body, however large the queue."""

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


def read(request: falcon.Request, max_bytes: int) -> bytes:
    """The whole body, decompressed. Raises EventError when it is too large, cut off or not gzip.

    Blocks on a slow client, as long as the listening socket's receive timeout allows.
    """
    encoding = request.env.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise EventError(
            Rejection.UNSUPPORTED_ENCODING, f"Content-Encoding {encoding}: send gzip or none"
        )
    length = request.content_length
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    try:
        # A chunked body has no length: Falcon's bounded stream would be empty.
        body: bytes = request.env["wsgi.input"].read(max_bytes + 1 if length is None else length)
    except OSError as error:
        raise EventError(Rejection.INCOMPLETE, "the body did not arrive in time") from error
    except ParseException as error:  # the server's, for chunks that are none
        raise EventError(Rejection.INCOMPLETE, f"the body is malformed: {error}") from error
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if length is not None and len(body) < length:
        raise EventError(
            Rejection.INCOMPLETE, f"the body ends after {len(body)} of {length} announced bytes"
        )
    return body if encoding == "identity" else _gunzip(body, max_bytes)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """All members of the gzip file, as RFC 1952 allows several."""
    parts: list[bytes] = []
    room = max_bytes + 1
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(body, room)
        except zlib.error as error:
            raise EventError(Rejection.INCOMPLETE, f"the body is not gzip: {error}") from None
        parts.append(part)
        room -= len(part)
        if room <= 0:
            raise _too_large(max_bytes)
        if not member.eof:
            raise EventError(Rejection.INCOMPLETE, "the gzip body is cut off")
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise EventError(
        Rejection.INCOMPLETE, f"the gzip body has more than {MAX_GZIP_MEMBERS} members"
    )


class Splitter:
    """Splits bodies into the texts of their events, each not yet checked.

    An array is decoded into a struct with one place per event that may come: that splits at the
    speed of C and stops at the first one too many, where a list would grow to the size of the body.
    """

    def __init__(self, max_events: int) -> None:
        self._max_events = min(max_events, MAX_EVENTS)
        places = [(f"event_{n}", Raw, Raw()) for n in range(self._max_events)]
        array: Any = msgspec.defstruct(
            "Events", places, array_like=True, forbid_unknown_fields=True
        )
        self._decode_array = msgspec.json.Decoder(array).decode

    def split(self, body: bytes, media: str) -> list[bytes]:
        """Raises EventError when the body as a whole cannot be read."""
        if media == NDJSON:
            texts = self._split_lines(body)
        elif body[:1] == b"{":
            return [body]
        elif body.lstrip(b" \t\r\n")[:1] == b"[":
            texts = self._split_array(body)
        else:
            texts = [body] if body.strip() else []
        if not texts:
            raise EventError(Rejection.EMPTY, "the body holds no event")
        return texts

    def _split_array(self, body: bytes) -> list[bytes]:
        try:
            body.decode()
            try:
                events = self._decode_array(body)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                events = self._decode_array(json_text.mend(body))
        except msgspec.ValidationError:
            raise _too_many(self._max_events) from None
        except UnicodeDecodeError as error:
            raise EventError(
                Rejection.INVALID_UTF8, f"invalid UTF-8 at byte {error.start}"
            ) from None
        except RecursionError:
            raise EventError(Rejection.TOO_DEEP, "nested too deep") from None
        except msgspec.DecodeError as error:
            raise EventError(Rejection.NOT_JSON, str(error)) from None
        return [text for element in msgspec.structs.astuple(events) if (text := bytes(element))]

    def _split_lines(self, body: bytes) -> list[bytes]:
        lines: list[bytes] = []
        for line in io.BytesIO(body):
            if not line.isspace():
                lines.append(line)
            if len(lines) > self._max_events:
                raise _too_many(self._max_events)
        return lines


def _too_large(max_bytes: int) -> EventError:
    return EventError(Rejection.TOO_LARGE, f"the body is larger than {max_bytes} bytes")


def _too_many(max_events: int) -> EventError:
    return EventError(Rejection.TOO_LARGE, f"more than {max_events} events in one body")
