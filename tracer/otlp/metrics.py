"""Counters of cost and tokens to custom events named after the metric. Others are ignored."""

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from tracer.events import CustomEvent, Event
from tracer.otlp.attributes import agent_id, content_id, metadata
from tracer.otlp.items import Point

Found = tuple[type[Event], dict[str, Any]]

_KEPT = re.compile(r"(?:^|\.)(?:cost|tokens?)(?:\.|$)|_tokens?$|\.inference\.usage\.")


def is_kept(point: Point) -> bool:
    """Whether the metric counts cost or tokens."""
    return _KEPT.search(point.metric) is not None


def translate(point: Point, last: MutableMapping[str, tuple[Any, int]]) -> Iterator[Found]:
    """One event per value. A cumulative counter that stands still is sent at every interval: `last`
    has its last value and time, by series. The same point again is no standstill, but a retry.
    """
    if point.value is None:
        return
    series = content_id(point.origin, point.metric, point.attributes, point.start_ns)
    value, time_ns = last.get(series, (None, 0))
    if point.is_cumulative and value == point.value and time_ns < point.time_ns:
        return
    last[series] = (point.value, point.time_ns)
    told = point.value if isinstance(point.value, dict) else {"value": point.value}
    event = {
        "trace_id": content_id(point),
        "name": point.metric,
        "timestamp": point.time_ns // 1_000_000 or None,
        "agent_id": agent_id(point.origin.resource),
        "metadata": {
            **metadata(point.attributes, point.origin, unit=point.unit),
            **told,
            "temporality": "cumulative" if point.is_cumulative else "delta",
        },
    }
    yield CustomEvent, {n: v for n, v in event.items() if v is not None}
