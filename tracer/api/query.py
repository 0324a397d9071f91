"""GET of lists (contract section 5)."""

import re
from typing import Final

import falcon
import msgspec

from tracer.api import parameters
from tracer.errors import EventError, ParameterError
from tracer.events import Event
from tracer.handover import pausing
from tracer.reading import MAX_LIMIT, Reader

DEFAULT_LIMIT: Final = 100

_encode = msgspec.json.Encoder().encode


class Listing:
    """The rows of one kind, newest first, a page at a time."""

    def __init__(self, kind: type[Event], reader: Reader) -> None:
        self._kind = kind
        self._reader = reader
        self._known = ("since", "until", "limit", "cursor", *kind.filters)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        sent = parameters.read(request, self._known)
        since_ms, until_ms = parameters.read_bounds(sent)
        filters = [name for name in self._kind.filters if name in sent]
        page = self._reader.page(
            self._kind,
            filters={name: self._read(name, sent[name]) for name in filters},
            since_ms=since_ms,
            until_ms=until_ms,
            cursor=sent.get("cursor"),
            limit=_read_limit(sent.get("limit")),
            raw_metadata=True,
        )
        # One by one: as a whole it would hold the interpreter's lock, and the agent up, for long.
        items = b",".join([_encode(item) for item in pausing(page.items)])
        cursor = _encode(page.next_cursor)
        response.data = b'{"items":[%b],"next_cursor":%b}' % (items, cursor)  # JSON by default
        response.cache_control = ["no-store"]

    def _read(self, name: str, text: str) -> str:
        """What the column would hold: `ok` is stored as `success`."""
        try:
            value: str = self._kind._meta.fields[name].read(msgspec.json.encode(text))
        except EventError as error:
            raise ParameterError(f"{name}: {error}") from None
        return value


def _read_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"\d{1,4}", text, re.ASCII) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise ParameterError(f"limit goes from 1 to {MAX_LIMIT}")
    return int(text)
