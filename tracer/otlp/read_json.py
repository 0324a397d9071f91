"""OTLP/JSON: camelCase keys, ids in hexadecimal, 64-bit integers as strings or numbers.

Unknown fields are ignored, as the specification demands.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer import json_text
from tracer.errors import EventError
from tracer.ledger import Rejection
from tracer.otlp.items import (
    MAX_ATTRIBUTES,
    MAX_ITEMS,
    Item,
    LogRecord,
    Origin,
    Point,
    Signal,
    Span,
    SpanEvent,
)
from tracer.otlp.json_shapes import (
    Attributes,
    JsonLogRecord,
    JsonMetric,
    JsonSpan,
    Request,
    ResourceGroup,
    Status,
)

MAX_ELEMENTS: Final = 200_000
"""Values in one body. Each may become a Python object of a hundred bytes."""

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)

_request = msgspec.json.Decoder(Request).decode
_span = msgspec.json.Decoder(JsonSpan).decode
_log_record = msgspec.json.Decoder(JsonLogRecord).decode
_metric = msgspec.json.Decoder(JsonMetric).decode


def is_otlp(body: bytes) -> bool:
    """Whether a JSON body on the route of plain events is OTLP. Looks at top-level keys only."""
    try:
        return "resourceSpans" in msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def read(body: bytes, signal: Signal) -> Iterator[Item]:
    """Raises EventError when the body as a whole cannot be read."""
    _check_size(body)
    try:
        json_text.check_depth(body)
        request = _request(json_text.mend(body))
    except RecursionError:
        raise EventError(Rejection.TOO_DEEP, "nested too deep") from None
    except msgspec.ValidationError as error:
        raise EventError(Rejection.WRONG_TYPE, f"not OTLP: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventError(Rejection.NOT_JSON, str(error)) from None
    return _items(request, signal)


def _check_size(body: bytes) -> None:
    if body.count(b",") + body.count(b"{") + body.count(b"[") > MAX_ELEMENTS:
        bare = _STRINGS.sub(b"", body)
        if bare.count(b",") + bare.count(b"{") + bare.count(b"[") > MAX_ELEMENTS:
            raise EventError(
                Rejection.TOO_LARGE, f"more than {MAX_ELEMENTS} values in one body: send fewer"
            )


def _items(request: Request, signal: Signal) -> Iterator[Item]:
    groups: list[ResourceGroup] = getattr(request, f"resource_{_WORDS[signal][0]}") or []
    for group in groups:
        resource = _attributes(group.resource.attributes if group.resource else None)
        for scoped in getattr(group, f"scope_{_WORDS[signal][0]}") or ():
            origin = Origin(resource, (scoped.scope and scoped.scope.name) or "")
            for raw in (getattr(scoped, _WORDS[signal][1]) or ())[:MAX_ITEMS]:
                try:
                    yield from _READERS[signal](bytes(raw), origin)
                except EventError as error:
                    yield error
                except (msgspec.DecodeError, ValueError, RecursionError) as error:
                    yield EventError(Rejection.WRONG_TYPE, str(error))


_WORDS: Final = {
    Signal.TRACES: ("spans", "spans"),
    Signal.LOGS: ("logs", "log_records"),
    Signal.METRICS: ("metrics", "metrics"),
}


def _read_span(raw: bytes, origin: Origin) -> Iterator[Span]:
    span = _span(raw)
    status = span.status or Status()
    yield Span(
        origin,
        _id(span.trace_id),
        _id(span.span_id),
        _id(span.parent_span_id),
        span.name,
        span.kind or 0,
        int(span.start_time_unix_nano or 0),
        int(span.end_time_unix_nano or 0),
        _attributes(span.attributes),
        tuple(SpanEvent(e.name or "", _attributes(e.attributes)) for e in span.events or ()),
        status.code or 0,
        status.message or "",
    )


def _read_log_record(raw: bytes, origin: Origin) -> Iterator[LogRecord]:
    record = _log_record(raw)
    yield LogRecord(
        origin,
        int(record.time_unix_nano or record.observed_time_unix_nano or 0),
        record.severity_number or 0,
        record.event_name or "",
        _value(record.body),
        _attributes(record.attributes),
        _id(record.trace_id),
        _id(record.span_id),
    )


def _read_metric(raw: bytes, origin: Origin) -> Iterator[Point]:
    metric = _metric(raw)
    kinds = (metric.sum, metric.gauge, metric.histogram, metric.exponential_histogram)
    for points in kinds:
        for point in (points and points.data_points) or ():
            value: Any = point.as_double
            if point.as_int is not None:
                value = int(point.as_int)
            elif point.count is not None:
                value = {"count": int(point.count), "sum": point.sum}
            yield Point(
                origin,
                metric.name,
                metric.unit or "",
                points is not None and points.aggregation_temporality == 2,
                int(point.start_time_unix_nano or 0),
                int(point.time_unix_nano or 0),
                _attributes(point.attributes),
                value,
            )


_READERS: Final[dict[Signal, Any]] = {
    Signal.TRACES: _read_span,
    Signal.LOGS: _read_log_record,
    Signal.METRICS: _read_metric,
}


def _id(text: str | None) -> str:
    """An id of zeros is none."""
    return text.lower() if text and text.strip("0") else ""


def _attributes(pairs: Attributes) -> dict[str, Any]:
    if not pairs:
        return {}
    if len(pairs) > MAX_ATTRIBUTES:
        raise EventError(Rejection.TOO_LARGE, f"more than {MAX_ATTRIBUTES} attributes")
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: dict[str, Any] | None) -> Any:
    """An AnyValue: one member that says its type."""
    if not value:
        return None
    kind, held = next(iter(value.items()))
    if kind == "intValue":
        return int(held)
    if kind == "doubleValue":
        return float(held)
    if kind == "arrayValue":
        return [_value(item) for item in _members(held)]
    if kind == "kvlistValue":
        return {str(item.get("key")): _value(item.get("value")) for item in _members(held)}
    return held  # text, a truth value, or bytes in base64


def _members(held: Any) -> list[dict[str, Any]]:
    members = held.get("values") if isinstance(held, dict) else None
    return [member for member in members or () if isinstance(member, dict)]
