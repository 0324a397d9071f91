"""A whole body to events, and what must be remembered between bodies.

The rest of this package is imported at the first body: most gateways never send one.
"""

from typing import Any, Final

from cachetools import LRUCache

from tracer.errors import EventError
from tracer.events import Event
from tracer.otlp.items import Item, Point, Signal, Span

REMEMBERED: Final = 2048

Found = tuple[type[Event], dict[str, Any]] | EventError


class Translator:
    """Remembers two things, bounded and until the next restart: which senders tell tokens with each
    call, and the last values of counters.
    """

    def __init__(self) -> None:
        self._tells_tokens: LRUCache[str, bool] = LRUCache(REMEMBERED)
        self._last_values: LRUCache[str, tuple[Any, int]] = LRUCache(REMEMBERED)

    @staticmethod
    def is_otlp(body: bytes) -> bool:
        """Whether a JSON body is OTLP; looks at its top-level keys only."""
        if b'"resourceSpans"' not in body:
            return False
        from tracer.otlp import read_json

        return read_json.is_otlp(body)

    def translate(self, body: bytes, signal: Signal, *, is_json: bool) -> list[Found]:
        """Events in our own wire format, and errors in place of items that cannot be read.

        Raises EventError when the body as a whole cannot be read.
        """
        if is_json:
            from tracer.otlp import read_json

            items = list(read_json.read(body, signal))
        else:
            from tracer.otlp import read_protobuf

            items = list(read_protobuf.read(body, signal))
        if signal is Signal.TRACES:
            self._learn(items)
        return [found for item in items for found in self._translate(item)]

    def _learn(self, items: list[Item]) -> None:
        from tracer.otlp import spans

        for item in items:
            if isinstance(item, Span) and spans.is_openclaw_call(item) and spans.has_tokens(item):
                for key in _keys(item):
                    self._tells_tokens[key] = True

    def _translate(self, item: Item) -> list[Found]:
        from tracer.otlp import logs, metrics, names, spans

        if isinstance(item, EventError):
            return [item]
        if isinstance(item, Span):
            # OpenClaw tells the tokens of a turn once more at its end; versions up to 2026.4 only
            # there.
            is_repeated = item.name == names.MODEL_USAGE and any(
                key in self._tells_tokens for key in _keys(item)
            )
            return list(spans.translate(item, is_repeated=is_repeated))
        if isinstance(item, Point):
            if metrics.is_kept(item):
                return list(metrics.translate(item, self._last_values))
            return []
        return list(logs.translate(item))


def _keys(span: Span) -> tuple[str, str]:
    """The trace, and the process: its version does not change while it lives."""
    resource = span.origin.resource
    sender = (resource.get(n) for n in ("service.name", "host.name", "process.pid"))
    return span.trace_id, "/".join(map(str, sender))
