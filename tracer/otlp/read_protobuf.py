"""OTLP/protobuf, by the official `opentelemetry-proto`, imported at the first such body: +7 MB.

The messages around the items are walked by hand and each item is parsed on its own: one bad item
costs only itself, and memory is bounded by the largest item, not by the body. A hostile item would
take up to ninety times its size when parsed, so the fields of a large one are counted before.
"""

import base64
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

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

SMALL_BYTES: Final = 64 * 1024
"""Whatever is in so few bytes may be parsed."""

MAX_FIELDS: Final = 50_000
MAX_DEPTH: Final = 64

_one_at_a_time = threading.Lock()
_RESOURCE, _GROUP = 1, 2
"""In all three requests: field 1 are resource groups; of these 1 is the resource, 2 the groups by
scope; of these 1 is the scope, 2 the items.
"""


def read(body: bytes, signal: Signal) -> Iterator[Item]:
    """Raises EventError, also while iterating, when the body as a whole cannot be read."""
    for origin, encoded in _encoded_items(memoryview(body)):
        with _one_at_a_time:
            try:
                items = list(_READERS[signal](encoded, origin))
            except EventError as error:
                items = [error]
        yield from items


def _encoded_items(body: memoryview) -> Iterator[tuple[Origin, memoryview]]:
    budget = MAX_ITEMS
    for group in _members(body, 1):
        resource = _named(group, "Resource")
        for scoped in _members(group, _GROUP):
            origin = Origin(_plain(resource.attributes), _named(scoped, "Scope").name)
            for item in _members(scoped, _GROUP):
                budget -= 1
                if budget < 0:
                    raise EventError(Rejection.TOO_LARGE, f"more than {MAX_ITEMS} items")
                yield origin, item


def _named(group: memoryview, kind: str) -> Any:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    message = Resource if kind == "Resource" else InstrumentationScope
    for encoded in _members(group, _RESOURCE):
        return _parse(message, encoded)
    return message()


def _members(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The length-delimited fields of this number. Other fields are passed over."""
    for count, (number, payload) in enumerate(_fields(message)):
        if count > 2 * MAX_ITEMS:
            raise EventError(Rejection.TOO_LARGE, f"more than {2 * MAX_ITEMS} fields")
        if number == wanted and payload is not None:
            yield payload


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Number and, if it has one, payload of each field."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type, payload = tag & 7, None
        if wire_type == 2:
            size, position = _varint(message, position)
            payload = message[position : position + size]
            position += size
        elif wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise _malformed()
        if position > len(message):
            raise _malformed()
        yield tag >> 3, payload


def _check_size(message: memoryview, descriptor: Any, budget: int, depth: int = 0) -> int:
    """Counts the fields of a message, and of those within it; what is left of the budget."""
    if depth > MAX_DEPTH:
        raise EventError(Rejection.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")
    for number, payload in _fields(message):
        budget -= 1
        if budget < 0:
            raise EventError(Rejection.TOO_LARGE, f"more than {MAX_FIELDS} fields in one item")
        field = descriptor.fields_by_number.get(number)
        if payload is not None and field is not None and field.message_type is not None:
            budget = _check_size(payload, field.message_type, budget, depth + 1)
    return budget


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise _malformed()
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _malformed() -> EventError:
    return EventError(Rejection.INCOMPLETE, "the body is not valid protobuf")


def _parse(message: Any, encoded: memoryview) -> Any:
    from google.protobuf.message import DecodeError

    if len(encoded) > SMALL_BYTES:
        _check_size(encoded, message.DESCRIPTOR, MAX_FIELDS)
    try:
        return message.FromString(bytes(encoded))
    except (DecodeError, RecursionError, ValueError) as error:
        raise EventError(Rejection.INCOMPLETE, f"not valid protobuf: {error}") from None


def _read_span(encoded: memoryview, origin: Origin) -> Iterator[Span]:
    from opentelemetry.proto.trace.v1 import trace_pb2

    span = _parse(trace_pb2.Span, encoded)
    yield Span(
        origin,
        _id(span.trace_id),
        _id(span.span_id),
        _id(span.parent_span_id),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _plain(span.attributes),
        tuple(SpanEvent(event.name, _plain(event.attributes)) for event in span.events),
        span.status.code,
        span.status.message,
    )


def _read_log_record(encoded: memoryview, origin: Origin) -> Iterator[LogRecord]:
    from opentelemetry.proto.logs.v1 import logs_pb2

    record = _parse(logs_pb2.LogRecord, encoded)
    yield LogRecord(
        origin,
        record.time_unix_nano or record.observed_time_unix_nano,
        record.severity_number,
        record.event_name,
        _value(record.body),
        _plain(record.attributes),
        _id(record.trace_id),
        _id(record.span_id),
    )


def _read_metric(encoded: memoryview, origin: Origin) -> Iterator[Point]:
    from opentelemetry.proto.metrics.v1 import metrics_pb2

    metric = _parse(metrics_pb2.Metric, encoded)
    kind = metric.WhichOneof("data")
    if kind is None or kind == "summary":
        return
    points = getattr(metric, kind)
    for point in points.data_points:
        value: Any
        if kind in ("sum", "gauge"):
            number = point.WhichOneof("value")
            value = getattr(point, number) if number else None
        else:
            value = {"count": point.count, "sum": point.sum}
        yield Point(
            origin,
            metric.name,
            metric.unit,
            kind != "gauge" and points.aggregation_temporality == 2,
            point.start_time_unix_nano,
            point.time_unix_nano,
            _plain(point.attributes),
            value,
        )


_READERS: Final[dict[Signal, Any]] = {
    Signal.TRACES: _read_span,
    Signal.LOGS: _read_log_record,
    Signal.METRICS: _read_metric,
}


def _id(value: bytes) -> str:
    """An id of zeros is none."""
    return value.hex() if value.strip(b"\0") else ""


def _plain(pairs: Iterable[Any]) -> dict[str, Any]:
    if len(pairs) > MAX_ATTRIBUTES:  # type: ignore[arg-type]
        raise EventError(Rejection.TOO_LARGE, f"more than {MAX_ATTRIBUTES} attributes")
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind == "array_value":
        return [_value(item) for item in held.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in held.values}
    if kind == "bytes_value":
        return base64.b64encode(held).decode()
    return held
