"""What Prometheus scrapes: our state in the text format, by `prometheus-client`, with a registry of
our own. Importing this costs memory (see pyproject.toml), so it is done at the first scrape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tracer import call_metrics
from tracer.call_counts import CallGroup, Names
from tracer.events import SystemMetric
from tracer.fields import Choice
from tracer.ledger import Deletion, Loss, Rejection
from tracer.quality import Finding

BREAKER_STATES: Final = ("closed", "open", "half_open")

UNITS: Final = (
    # end of a column, end of the name (Prometheus has base units), factor
    ("_percent", "_ratio", 0.01),
    ("_bytes_per_s", "_bytes_per_second", 1),
    ("_ms", "_seconds", 0.001),
)


class Readings(NamedTuple):
    """What there is to show, all of it from memory."""

    health: Mapping[str, Any]
    knows_rows: bool
    """Whether the database was open once: before that, its counters read 0 and are not."""
    passes: Mapping[str, int]
    """By worker."""
    findings: Mapping[str, int]
    calls: list[tuple[Names, CallGroup]]
    sample: Mapping[str, Any]
    """The newest values of `system_metrics`."""
    sums: Mapping[str, int]
    """The sums of those that come about in an interval."""


class Exposition(Collector):
    """Any thread. Each scrape reads anew."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text, in the newest format that `accept` names, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would collect to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        readings = self._read()
        yield from _state(readings.health)
        yield from _events(readings.health["events"])
        if readings.knows_rows:  # a counter that shows 0 meanwhile would count all rows once more
            yield from _rows(readings.health["events"]["rows"])
        yield from _push(readings.health)
        yield from _workers(readings.health["workers"], readings.passes)
        findings = {str(finding): 0 for finding in Finding} | dict(readings.findings)
        yield _counts("quality_findings", "odd data that was taken", "finding", findings)
        yield from _host(readings.sample, readings.sums)
        yield from call_metrics.families(readings.calls)


def _gauge(name: str, text: str, value: float | bool | None) -> Iterator[Metric]:
    """Nothing when the value is not known."""
    if value is not None:
        yield GaugeMetricFamily(f"openclaw_trace_{name}", text, float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"openclaw_trace_{name}", text, value)


def _counts(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"openclaw_trace_{name}", text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _states(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"openclaw_trace_{name}", text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _state(health: Mapping[str, Any]) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "openclaw_trace_build_info", "version, as a label", labels=["version"]
    )
    build.add_metric([health["version"]], 1)
    yield build
    yield from _gauge("healthy", "1 unless /health says degraded", health["status"] == "ok")
    yield from _gauge("warnings", "sentences under warnings in /health", len(health["warnings"]))
    yield from _gauge("database_up", "whether the database can be used", health["sqlite_ok"])
    yield from _gauge("database_size_bytes", "size of the database file", health["db_size_bytes"])
    yield from _gauge("wal_size_bytes", "size of the write-ahead log", health["wal_size_bytes"])
    percent = health["disk_percent"]
    ratio = None if percent is None else percent / 100
    yield from _gauge("disk_used_ratio", "use of the volume of the database", ratio)
    yield from _gauge("queue_events", "events waiting for the writer", health["queue_depth"])
    yield from _gauge("queue_capacity_events", "most that may wait", health["queue_capacity"])


def _events(events: Mapping[str, Any]) -> Iterator[Metric]:
    """The ledger. Reasons of the closed lists are shown with 0 too, so that rates have a start."""
    for name, text in (
        ("received", "events that came in, our own included"),
        ("accepted", "events taken into the queue"),
        ("stored", "events committed"),
        ("duplicate", "events whose trace_id was known"),
    ):
        yield _counter(f"events_{name}", text, events[name])
    for name, text, reasons in (
        ("rejected", "events and bodies that were refused", Rejection),
        ("lost", "accepted events that could not be stored", Loss),
    ):
        values = {str(reason): 0 for reason in reasons} | events[name]
        yield _counts(f"events_{name}", text, "reason", values)


def _rows(rows: Mapping[str, Any]) -> Iterator[Metric]:
    """The counters that the database keeps itself; they go on after a restart."""
    yield _counter("rows_stored", "rows ever stored in this database", rows["stored"])
    kept = {name: rows[name] for name in ("pushed", "unpushed", "refused")}
    yield _states("rows", "rows in the database, by what the remote said", "state", kept)
    reasons = [f"{reason}{ending}" for reason in Deletion for ending in ("", "_unpushed")]
    deleted = dict.fromkeys(reasons, 0) | rows["deleted"]
    yield _counts("rows_deleted", "rows deleted from this database", "reason", deleted)


def _push(health: Mapping[str, Any]) -> Iterator[Metric]:
    state = health["push_breaker"]
    states = {word: float(word == state) for word in BREAKER_STATES}
    yield _states("push_breaker", "1 for the state it is in", "state", states)
    last_at, status = health["last_push_time"], health["last_push_status"]
    seconds = last_at and last_at / 1000
    yield from _gauge("push_last_timestamp_seconds", "when a push was last answered", seconds)
    is_success = None if status is None else status == "success"
    yield from _gauge("push_last_success", "whether that push was confirmed", is_success)


def _workers(workers: Mapping[str, Any], passes: Mapping[str, int]) -> Iterator[Metric]:
    alive = {name: float(state["alive"]) for name, state in workers.items()}
    yield _states("worker_alive", "whether the thread runs", "worker", alive)
    failures = {name: state["failures"] for name, state in workers.items()}
    yield _counts("worker_failures", "passes that failed", "worker", failures)
    yield _counts("worker_passes", "passes that ended well", "worker", passes)
    last = {n: s["last_ok_at"] / 1000 for n, s in workers.items() if s["last_ok_at"] is not None}
    text = "end of the last pass that ended well"
    yield _states("worker_last_ok_timestamp_seconds", text, "worker", last)


def _host(sample: Mapping[str, Any], sums: Mapping[str, int]) -> Iterator[Metric]:
    """The columns of `system_metrics` under their names, in base units."""
    scopes = {}
    for field in SystemMetric.wire_fields():
        value = sample.get(field.name)
        if value is None or field.name == "gateway_pid":  # a name, not a quantity
            continue
        text = f"system_metrics.{field.name}: {field.help_text}"
        if isinstance(field, Choice):
            scopes[field.name] = str(value)
        elif field.name in SystemMetric.in_interval:
            yield _counter(f"host_{field.name}", text, sums[field.name])
        else:
            yield from _gauge(*_in_base_unit(field.name, text, value))
    if scopes:
        info = GaugeMetricFamily(
            "openclaw_trace_host_info", "whose resources these are", labels=list(scopes)
        )
        info.add_metric(list(scopes.values()), 1)
        yield info


def _in_base_unit(name: str, text: str, value: float) -> tuple[str, str, float]:
    for ending, unit, factor in UNITS:
        if name.endswith(ending):
            return f"host_{name.removesuffix(ending)}{unit}", text, value * factor
    return f"host_{name}", text, value
