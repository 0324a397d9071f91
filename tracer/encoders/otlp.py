"""OTLP/HTTP, protobuf (contract section 6): calls as spans, metrics as metrics, the rest as logs.

Importing this costs 4 MB: only where TRACE_PUSH_FORMAT asks for it. Names are those of the semantic
conventions; what they have no name for keeps ours, under `openclaw_trace.`.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracer import __version__, redact
from tracer.encoders.batch import Batch, Builder
from tracer.encoders.otlp_metrics import metrics_of, nanoseconds
from tracer.events import KINDS, Event
from tracer.rows import UnpushedRow

_METRIC_TYPES: Final = ("system_metric", "process_metric")
_SPANS = tuple(kind for kind in KINDS if kind.type_name == "llm_trace")
_METRICS = tuple(kind for kind in KINDS if kind.type_name in _METRIC_TYPES)
_LOGS = tuple(kind for kind in KINDS if kind not in (*_SPANS, *_METRICS))
LANES: Final = tuple(lane for lane in (_SPANS, _LOGS, _METRICS) if lane)
"""Kinds that share a batch: each signal has a path of its own."""

OVERHEAD_BYTES: Final = 1024
"""Kept free for the resource around the rows."""

_GEN_AI: Final = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "input_text": "gen_ai.prompt",
    "output_text": "gen_ai.completion",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "session_id": "gen_ai.conversation.id",
    "prompt_version": "gen_ai.prompt.version",
    "error_type": "error.type",
}
_LOG_NAMES: Final = {
    "session_id": "gen_ai.conversation.id",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "error_type": "error.type",
    "stack_trace": "exception.stacktrace",
}
_SEVERITIES: Final = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
_OWN: Final = "openclaw_trace."
_PLACED: Final = frozenset(
    ("trace_id", "otel_trace_id", "span_id", "parent_span_id", "created_at", "received_at")
)
"""Columns that become part of the record itself, or mean nothing elsewhere."""


def encode_batch(
    rows: Iterable[UnpushedRow],
    *,
    agent_id: str,
    sent_at: int,  # noqa: ARG001
    dropped: Mapping[str, int],
    max_bytes: int,
) -> Batch | None:
    """As many of the rows as fit, all of the signal of the first one; None without any."""
    batch = Builder(agent_id)
    lane: tuple[type[Event], ...] = ()
    records: list[Any] = []
    size, has_more = OVERHEAD_BYTES, False
    for row in rows:
        lane = lane or next(lane for lane in LANES if row.kind in lane)
        if row.kind not in lane:
            has_more = True
            continue
        made = list(_encoders[lane](row, _columns(row)))
        size += sum(record.ByteSize() + 6 for record in made)  # with its tag and length
        if batch.is_full or (batch.rows and size > max_bytes):
            has_more = True
            break
        records += made
        batch.add(row)
    if not batch.rows:
        return None
    path, body = _envelope(lane, records, agent_id, dropped)
    return Batch(batch.id(), body, batch.rows, has_more, path, "application/x-protobuf")


def partial_failure(batch: Batch, answer: bytes) -> str | None:
    """What a collector that took the batch says of rows it did not take. It does not say which, and
    they must not be sent again.
    """
    messages: dict[str, Any] = {
        "/v1/traces": trace_service.ExportTraceServiceResponse,
        "/v1/logs": logs_service.ExportLogsServiceResponse,
        "/v1/metrics": metrics_service.ExportMetricsServiceResponse,
    }
    try:
        partial = messages[batch.path].FromString(answer).partial_success
    except DecodeError:
        return None
    count = next((value for field, value in partial.ListFields() if "rejected" in field.name), 0)
    if not count and not partial.error_message:
        return None
    why = redact.text(partial.error_message)[:200]
    return f"the collector rejected {count} of {len(batch.rows)}: {why}"


def _columns(row: UnpushedRow) -> dict[str, Any]:
    names = row.kind.stored_columns()
    return {name: value for name, value in zip(names, row.values, strict=True) if value is not None}


def _envelope(
    lane: tuple[type[Event], ...],
    records: list[Any],
    agent_id: str,
    dropped: Mapping[str, int],
) -> tuple[str, bytes]:
    """Path and body of an export request."""
    request: Any
    if lane is _SPANS:
        path, request = "/v1/traces", trace_service.ExportTraceServiceRequest()
        scope = (resource := request.resource_spans.add()).scope_spans.add()
        scope.spans.extend(records)
    elif lane is _LOGS:
        path, request = "/v1/logs", logs_service.ExportLogsServiceRequest()
        scope = (resource := request.resource_logs.add()).scope_logs.add()
        scope.log_records.extend(records)
    else:
        path, request = "/v1/metrics", metrics_service.ExportMetricsServiceRequest()
        scope = (resource := request.resource_metrics.add()).scope_metrics.add()
        scope.metrics.extend(records)
    scope.scope.name, scope.scope.version = "openclaw-trace", __version__
    losses = {f"{_OWN}dropped.{reason}": count for reason, count in dropped.items()}
    scope.scope.attributes.extend(_attributes(losses))
    identity = {"service.name": "openclaw-trace", "service.instance.id": agent_id}
    resource.resource.attributes.extend(_attributes(identity))
    return path, request.SerializeToString(deterministic=True)


def _span(_row: UnpushedRow, columns: dict[str, Any]) -> Iterable[Span]:
    """It began at `created_at`, as spans that come in by OTLP do."""
    span = Span(
        trace_id=_trace_id(columns),
        span_id=_hex(columns.get("span_id"), 8) or _uuid(columns).bytes[8:],
        parent_span_id=_hex(columns.get("parent_span_id"), 8),
        name=f"{columns.get('operation', 'chat')} {columns['model']}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=nanoseconds(columns["created_at"]),
        end_time_unix_nano=nanoseconds(columns["created_at"], columns.get("latency_ms", 0.0)),
    )
    if columns.get("status", "success") != "success":
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = columns["status"]
        columns.setdefault("error_type", columns["status"])
    attributes = _named(columns, _GEN_AI, but=("status", "latency_ms", "ttft_ms", "finish_reason"))
    if "ttft_ms" in columns:
        attributes["gen_ai.response.time_to_first_chunk"] = columns["ttft_ms"] / 1000
    if "finish_reason" in columns:
        attributes["gen_ai.response.finish_reasons"] = columns["finish_reason"].split(",")
    span.attributes.extend(_attributes(attributes))
    return (span,)


def _log(row: UnpushedRow, columns: dict[str, Any]) -> Iterable[LogRecord]:
    severity = columns.get("severity", "info")
    record = LogRecord(
        time_unix_nano=nanoseconds(columns["created_at"]),
        observed_time_unix_nano=nanoseconds(columns["received_at"]),
        severity_number=cast("Any", _SEVERITIES.get(severity, 9)),
        severity_text=severity.upper(),
        event_name=columns.get("name") or f"{_OWN}{row.kind.type_name}",
    )
    if "otel_trace_id" in columns or "span_id" in columns:
        record.trace_id = _trace_id(columns)
        record.span_id = _hex(columns.get("span_id"), 8)
    record.body.string_value = columns.get("message") or columns.get("name", "")
    attributes = _named(columns, _LOG_NAMES, but=("severity", "message", "name"))
    attributes["log.record.uid"] = columns["trace_id"]
    record.attributes.extend(_attributes(attributes))
    return (record,)


_encoders: Final[dict[tuple[type[Event], ...], Callable[..., Iterable[Any]]]] = {
    _SPANS: _span,
    _LOGS: _log,
    _METRICS: lambda row, columns: metrics_of(row.kind.type_name, columns),
}


def _named(columns: dict[str, Any], names: dict[str, str], but: Iterable[str]) -> dict[str, Any]:
    """Attributes of the columns that have no other place."""
    left = set(columns) - _PLACED - set(but)
    return {names.get(name, _OWN + name): columns[name] for name in columns if name in left}


def _trace_id(columns: dict[str, Any]) -> bytes:
    return _hex(columns.get("otel_trace_id"), 16) or _uuid(columns).bytes


def _uuid(columns: dict[str, Any]) -> uuid.UUID:
    return uuid.UUID(columns["trace_id"])


def _hex(text: str | None, size: int) -> bytes:
    """An id of OpenTelemetry, empty when the text is none."""
    try:
        value = bytes.fromhex((text or "").replace("-", ""))
    except ValueError:
        return b""
    return value if len(value) == size and any(value) else b""


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    made = AnyValue()
    made.array_value.values.extend(_value(item) for item in chain(value))
    return made
