"""From a body to the texts of its events, each not yet checked. Bounded."""

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer import json_text
from tracer.api.body import NDJSON
from tracer.errors import EventError
from tracer.ledger import Rejection

MAX_EVENTS: Final = 10_000
"""Most events in one body, however large the queue."""

MANY_COMMAS: Final = 50_000
"""An array with fewer has so few elements that a list of them is no matter."""

_decode_list = msgspec.json.Decoder(list[Raw]).decode


class Splitter:
    """Knows JSON objects, arrays of them, and NDJSON. Any thread."""

    def __init__(self, max_events: int) -> None:
        self._max_events = min(max_events, MAX_EVENTS)

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
            if not body.isascii():
                json_text.check_utf8(body)
            try:
                elements = self._decode_array(body)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                elements = self._decode_array(json_text.mend(body))
        except msgspec.ValidationError:
            raise _too_many(self._max_events) from None
        except RecursionError:
            raise EventError(Rejection.TOO_DEEP, "nested too deep") from None
        except msgspec.DecodeError as error:
            raise EventError(Rejection.NOT_JSON, str(error)) from None
        return [text for element in elements if (text := bytes(element))]

    def _decode_array(self, body: bytes) -> Sequence[Raw]:
        """The elements. Raises ValidationError for too many."""
        if body.count(b",") >= MANY_COMMAS:
            return msgspec.structs.astuple(self._decode_bounded(body))
        elements = _decode_list(body)
        if len(elements) > self._max_events:
            raise msgspec.ValidationError
        return elements

    @functools.cached_property
    def _decode_bounded(self) -> Callable[[bytes], Any]:
        """Into a struct with one place per event that may come: it stops at the first one too many,
        where a list would grow to the size of the body. It takes 1 KB per place, so is made late.
        """
        places = [(f"event_{n}", Raw, Raw()) for n in range(self._max_events)]
        array: Any = msgspec.defstruct(
            "Events", places, array_like=True, forbid_unknown_fields=True
        )
        return msgspec.json.Decoder(array).decode

    def _split_lines(self, body: bytes) -> list[bytes]:
        lines: list[bytes] = []
        for line in io.BytesIO(body):
            if not line.isspace():
                lines.append(line)
            if len(lines) > self._max_events:
                raise _too_many(self._max_events)
        return lines


def _too_many(max_events: int) -> EventError:
    return EventError(Rejection.TOO_LARGE, f"more than {max_events} events in one body")
