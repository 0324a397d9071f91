"""The sampler thread's work: one pass over the collectors becomes rows, and reports."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tracer.collectors.runner import PassResult, Runner
from tracer.detections import Detections
from tracer.events import ProcessMetric, SystemMetric
from tracer.reporter import Report, Reporter
from tracer.timestamps import now_ms
from tracer.watch import Watch

log = logging.getLogger(__name__)

LATE_FACTOR: Final = 3
"""A pass that comes this many intervals after the one before is marked: the machine stood still."""

JUMP_MS: Final = 1000
"""Difference between two clocks, over one pass, that is worth a mark."""

MAX_UNDELIVERED: Final = 32


class Moment(NamedTuple):
    """One instant by three clocks: monotonic ones without and with suspended time, and the wall."""

    monotonic_ms: int
    boot_ms: int
    wall_ms: int


def moment() -> Moment:
    """Now."""
    boot_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return Moment(time.monotonic_ns() // 1_000_000, boot_ms, now_ms())


class Sampler:
    """One `run_once` is one pass. Only the instance that has the database samples (`is_ready`)."""

    def __init__(
        self,
        runner: Runner,
        detections: Detections,
        watch: Watch,
        reporter: Reporter,
        *,
        interval_s: float,
        is_ready: Callable[[], bool],
        moment: Callable[[], Moment] = moment,
    ) -> None:
        self.passes = 0
        self.latest: Mapping[str, Any] = {}
        """The values of the newest row. Replaced as a whole, never changed."""
        self.totals: Counter[str] = Counter()
        """Of the columns that tell what came about in an interval, the sums since the start."""
        self._runner = runner
        self._detections = detections
        self._watch = watch
        self._reporter = reporter
        self._interval_s = interval_s
        self._is_ready = is_ready
        self._moment = moment
        self._last: Moment | None = None
        self._restarts = 0
        self._limits: dict[str, Any] = {}
        self._undelivered: deque[Report] = deque(maxlen=MAX_UNDELIVERED)

    def run_once(self) -> None:
        """The first pass gives no row, only the baseline of the rates. Blocks on hung collectors
        for their budgets, on nothing else.
        """
        if not self._is_ready():
            return
        now, last = self._moment(), self._last
        result = self._runner.run()
        if self._runner.is_cancelled:
            return
        self._log_limits(result.facts)
        self._undelivered.extend(self._detections.look(result.values, result.facts))
        while self._undelivered and self._reporter.report(self._undelivered[0]):
            self._undelivered.popleft()
        if last is not None:
            self._store(result, now, last)
            self.latest = result.values
            for name in SystemMetric.in_interval:
                self.totals[name] += result.values.get(name) or 0
        self._last = now
        self.passes += 1

    def wake(self) -> None:
        """Ends a pass that waits for a hung collector: the service stops."""
        self._runner.cancel()

    def warnings(self) -> Iterator[str]:
        """For `/health`: which columns are missing."""
        for name in self._runner.missing:
            yield f"metrics: {name} cannot be read ({self._runner.skips[name]} passes so far)"

    def _store(self, result: PassResult, now: Moment, last: Moment) -> None:
        interval_ms = now.monotonic_ms - last.monotonic_ms
        metadata = dict(self._marks(result, now, last, interval_ms))
        common = {"timestamp": now.wall_ms}
        system = {**common, **result.values, "interval_ms": interval_ms}
        if metadata:
            system["metadata"] = metadata
        self._reporter.offer(SystemMetric, [system])
        rows = result.facts.get("rows", [])
        self._reporter.offer(ProcessMetric, [{**common, **row} for row in rows])

    def _marks(
        self, result: PassResult, now: Moment, last: Moment, interval_ms: int
    ) -> Iterator[tuple[str, Any]]:
        """What one should know of this row: rates over it stay right, but are of another kind."""
        boot_ms = now.boot_ms - last.boot_ms
        if boot_ms - interval_ms >= JUMP_MS:
            yield "suspended_ms", boot_ms - interval_ms
        if abs(jump_ms := now.wall_ms - last.wall_ms - boot_ms) >= JUMP_MS:
            yield "clock_jump_ms", jump_ms
        if interval_ms > LATE_FACTOR * self._interval_s * 1000:
            yield "late", True
        if result.skipped:
            yield "skipped", sorted(result.skipped)
        table = result.facts.get("table")
        if table is not None and table.unread:
            yield "unread_processes", table.unread
        if self._watch.restarts != self._restarts:
            self._restarts = self._watch.restarts
            yield "gateway_restarts", self._restarts

    def _log_limits(self, facts: dict[str, Any]) -> None:
        """Which limit the figures are of, when it is known and when it changes."""
        names = ("cpu_limit_at", "mem_limit_at")
        limits: dict[str, Any] = {name: facts[name] for name in names if name in facts}
        for name, place in limits.items():
            if name not in self._limits or self._limits[name] != place:
                subject = name.partition("_")[0]
                log.info("metrics: %s of %s", subject, place or "the whole host")
        self._limits |= limits
