"""The JSON objects of OTLP, as far as they are read. 64-bit integers may be strings or numbers."""

from typing import Any

import msgspec
from msgspec import Raw

Number = int | str | None


class Struct(msgspec.Struct, rename="camel", gc=False):
    """Keys in camelCase; unknown ones are ignored."""


class KeyValue(Struct):
    """An attribute; `value` is an AnyValue."""

    key: str
    value: dict[str, Any] | None = None


Attributes = list[KeyValue] | None


class Named(Struct):
    """A resource, a scope or an event of a span."""

    name: str | None = None
    attributes: Attributes = None


class Group(Struct):
    """What came from one scope; each item is decoded on its own."""

    scope: Named | None = None
    spans: list[Raw] | None = None
    log_records: list[Raw] | None = None
    metrics: list[Raw] | None = None


class ResourceGroup(Struct):
    """What came from one resource."""

    resource: Named | None = None
    scope_spans: list[Group] | None = None
    scope_logs: list[Group] | None = None
    scope_metrics: list[Group] | None = None


class Request(Struct):
    """The body of any of the three signals."""

    resource_spans: list[ResourceGroup] | None = None
    resource_logs: list[ResourceGroup] | None = None
    resource_metrics: list[ResourceGroup] | None = None


class Status(Struct):
    """How a span ended."""

    code: int | None = None
    message: str | None = None


class JsonSpan(Struct):
    """A span."""

    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    name: str = ""
    kind: int | None = None
    start_time_unix_nano: Number = None
    end_time_unix_nano: Number = None
    attributes: Attributes = None
    events: list[Named] | None = None
    status: Status | None = None


class JsonLogRecord(Struct):
    """A log record."""

    time_unix_nano: Number = None
    observed_time_unix_nano: Number = None
    severity_number: int | None = None
    event_name: str | None = None
    body: dict[str, Any] | None = None
    attributes: Attributes = None
    trace_id: str | None = None
    span_id: str | None = None


class JsonPoint(Struct):
    """A data point of any kind of metric."""

    attributes: Attributes = None
    start_time_unix_nano: Number = None
    time_unix_nano: Number = None
    as_int: Number = None
    as_double: float | None = None
    count: Number = None
    sum: float | None = None


class JsonPoints(Struct):
    """The data of a metric."""

    data_points: list[JsonPoint] | None = None
    aggregation_temporality: int | None = None


class JsonMetric(Struct):
    """A metric."""

    name: str = ""
    unit: str | None = None
    sum: JsonPoints | None = None
    gauge: JsonPoints | None = None
    histogram: JsonPoints | None = None
    exponential_histogram: JsonPoints | None = None
