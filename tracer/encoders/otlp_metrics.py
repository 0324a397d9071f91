"""Samples as OTLP metrics, with the names of the semantic conventions for hosts and processes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric


class _Shape(NamedTuple):
    """How a column becomes a metric. `kind`: `gauge`, `level` (a sum that goes up and down) or
    `delta` (what happened in the interval).
    """

    name: str
    unit: str
    kind: str = "gauge"
    scale: float | None = None
    attribute: tuple[str, str] | None = None


_PERCENT: Final = 0.01
_SYSTEM: Final = {
    "cpu_percent": _Shape("system.cpu.utilization", "1", scale=_PERCENT),
    "load_1m": _Shape("system.cpu.load_average.1m", "{thread}"),
    "load_5m": _Shape("system.cpu.load_average.5m", "{thread}"),
    "load_15m": _Shape("system.cpu.load_average.15m", "{thread}"),
    "mem_used_bytes": _Shape(
        "system.memory.usage", "By", "level", attribute=("system.memory.state", "used")
    ),
    "mem_available_bytes": _Shape("system.memory.linux.available", "By", "level"),
    "mem_total_bytes": _Shape("system.memory.limit", "By", "level"),
    "mem_percent": _Shape("system.memory.utilization", "1", scale=_PERCENT),
    "swap_used_bytes": _Shape(
        "system.paging.usage", "By", "level", attribute=("system.paging.state", "used")
    ),
    "disk_used_bytes": _Shape(
        "system.filesystem.usage", "By", "level", attribute=("system.filesystem.state", "used")
    ),
    "disk_free_bytes": _Shape(
        "system.filesystem.usage", "By", "level", attribute=("system.filesystem.state", "free")
    ),
    "disk_total_bytes": _Shape("system.filesystem.limit", "By", "level"),
    "disk_percent": _Shape("system.filesystem.utilization", "1", scale=_PERCENT),
    "disk_read_bytes": _Shape(
        "system.disk.io", "By", "delta", attribute=("disk.io.direction", "read")
    ),
    "disk_write_bytes": _Shape(
        "system.disk.io", "By", "delta", attribute=("disk.io.direction", "write")
    ),
    "net_rx_bytes": _Shape(
        "system.network.io", "By", "delta", attribute=("network.io.direction", "receive")
    ),
    "net_tx_bytes": _Shape(
        "system.network.io", "By", "delta", attribute=("network.io.direction", "transmit")
    ),
    "net_errors": _Shape("system.network.errors", "{error}", "delta"),
    "net_drops": _Shape("system.network.packet.dropped", "{packet}", "delta"),
    "net_connections": _Shape("system.network.connection.count", "{connection}", "level"),
    "processes": _Shape("system.process.count", "{process}", "level"),
    "oom_kills": _Shape("openclaw_trace.oom_kills", "{process}", "delta"),
    "tracer_gc_collections": _Shape("openclaw_trace.gc_collections", "{collection}", "delta"),
}
_PROCESS: Final = {
    "cpu_percent": _Shape("process.cpu.utilization", "1", scale=_PERCENT),
    "rss_bytes": _Shape("process.memory.usage", "By", "level"),
    "threads": _Shape("process.thread.count", "{thread}", "level"),
}
_SHAPES: Final = {"system_metric": _SYSTEM, "process_metric": _PROCESS}
_PROCESS_ATTRIBUTES: Final = {
    "pid": "process.pid",
    "ppid": "process.parent_pid",
    "name": "process.executable.name",
    "state": "process.state",
    "started_at": "openclaw_trace.started_at",
    "is_gateway": "openclaw_trace.is_gateway",
}
_NO_METRICS: Final = frozenset(("id", "created_at", "received_at", "interval_ms", "span_id"))

LAST_NANOSECOND: Final = 2**64 - 1


def nanoseconds(ms: int, later_ms: float = 0.0) -> int:
    """A time as OTLP has it, from 1970 to 2554; what is beyond becomes the nearest of these: an
    error would end every pass at this row.
    """
    return min(max(ms * 1_000_000 + round(later_ms * 1_000_000), 0), LAST_NANOSECOND)


def metrics_of(type_name: str, columns: Mapping[str, Any]) -> Iterable[Metric]:
    """One metric with one point for each number; text tells what it is about."""
    shapes = _SHAPES[type_name]
    if type_name == "process_metric":
        attributes = {
            wire: columns[name] for name, wire in _PROCESS_ATTRIBUTES.items() if name in columns
        }
    else:
        attributes = {
            f"openclaw_trace.{name}": columns[name] for name in columns if name.endswith("_scope")
        }
    for name, value in columns.items():
        if isinstance(value, str) or name in _NO_METRICS or name in _about(type_name):
            continue
        shape = shapes.get(name) or _Shape(f"openclaw_trace.{name}", _unit(name))
        yield _metric(shape, value, columns, attributes)


def _about(type_name: str) -> Iterable[str]:
    return _PROCESS_ATTRIBUTES if type_name == "process_metric" else ()


def _unit(name: str) -> str:
    endings = {"_percent": "%", "_bytes": "By", "_bytes_per_s": "By/s", "_ms": "ms"}
    return next((unit for ending, unit in endings.items() if name.endswith(ending)), "1")


def _metric(
    shape: _Shape, value: Any, columns: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Metric:
    metric = Metric(name=shape.name, unit=shape.unit)
    if shape.kind == "gauge":
        point = metric.gauge.data_points.add()
    else:
        point = metric.sum.data_points.add()
        is_delta = shape.kind == "delta"
        metric.sum.is_monotonic = is_delta
        metric.sum.aggregation_temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
            if is_delta
            else AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        )
        if is_delta:
            began_at = columns["created_at"] - columns.get("interval_ms", 0)
            point.start_time_unix_nano = nanoseconds(began_at)
    point.time_unix_nano = nanoseconds(columns["created_at"])
    if shape.scale is not None or isinstance(value, float):
        point.as_double = value * (shape.scale or 1)
    else:
        point.as_int = value
    for key, about in (*attributes.items(), *([shape.attribute] if shape.attribute else [])):
        text_or_int = {"string_value" if isinstance(about, str) else "int_value": about}
        point.attributes.append(KeyValue(key=key, value=AnyValue(**text_or_int)))
    return metric
