"""Spans, log records and data points as plain Python values, whichever encoding they came in."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from tracer.errors import EventError

MAX_ITEMS: Final = 10_000
"""Most spans, records or metrics in one body, and most groups around them."""

MAX_ATTRIBUTES: Final = 2000
"""SDKs stop at 128 unless told otherwise."""

Attributes = Mapping[str, Any]


class Signal(StrEnum):
    """The three routes of OTLP/HTTP."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Origin(NamedTuple):
    """Who sent it."""

    resource: Attributes
    scope: str


class SpanEvent(NamedTuple):
    """Something noted within a span."""

    name: str
    attributes: Attributes


class Span(NamedTuple):
    """Ids are lower-case hexadecimal, empty where there is none. Status: 0 unset, 1 ok, 2 error."""

    origin: Origin
    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    status: int
    status_message: str


class LogRecord(NamedTuple):
    """`severity` goes from 1 (trace) to 24 (fatal), 0 is unknown."""

    origin: Origin
    time_ns: int
    severity: int
    event_name: str
    body: Any
    attributes: Attributes
    trace_id: str
    span_id: str


class Point(NamedTuple):
    """One data point. `value` is a number, or count and sum of a histogram."""

    origin: Origin
    metric: str
    unit: str
    is_cumulative: bool
    start_ns: int
    time_ns: int
    attributes: Attributes
    value: Any


Item = Span | LogRecord | Point | EventError
"""An EventError stands for an item that cannot be read; the others live."""
