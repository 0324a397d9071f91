"""The composition root: builds the parts, starts and stops them in order, reports their health."""

import logging
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from config.settings import Settings, shown
from tracer import __version__, parts, redact, runtime, store_file
from tracer.breaker import BreakerState
from tracer.call_counts import CallCounts
from tracer.heap import Heap
from tracer.intake import Intake
from tracer.ledger import Ledger, row_counts
from tracer.profiler import Profiler
from tracer.quality import Quality
from tracer.reporter import Report, Reporter
from tracer.worker import Worker
from tracer.writer import Writer

if TYPE_CHECKING:
    from tracer.exposition import Readings

log = logging.getLogger(__name__)

CLOSE_SHARE: Final = 0.2
"""Part of the shutdown budget that the final push leaves for checkpoint and close."""


FIRST_SAMPLE_S: Final = 1.0
"""After the start: the database is open by then, and the rates have a baseline soon."""

MAX_NOTICES: Final = 20
TAIL_INTERVAL_S: Final = 0.5

LEAST_STOP_S: Final = 0.2
"""To drain and close even when requests used up the whole budget."""


class Service:
    """One sidecar. The constructor opens and starts nothing, so it may run before a fork."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.intake = Intake(
            self.ledger,
            capacity=settings.queue_capacity,
            max_bytes=settings.max_body_bytes,
            batch_size=settings.batch_size,
        )
        self.store = parts.build_store(settings)
        self.quality = Quality()
        self.prices = parts.build_prices(settings, self.quality)
        self.decoders = parts.build_decoders(settings, self.prices)
        self.reporter = Reporter(self.decoders, self.intake, self.ledger)
        self.calls = CallCounts()
        self.writer = Writer(
            self.store,
            self.intake,
            window_s=settings.batch_window,
            report=self._report_notice,
            ask_for_room=self._wake_janitor,
            on_stored=self.calls.note,
        )
        self.profiler = Profiler()
        self.heap = Heap()
        self.janitor = parts.build_janitor(settings, self.store, self.writer, self._note)
        self._notices: list[str] = []
        self.push = None
        if settings.push_endpoint:
            self.push = parts.build_push(settings, self.store, self.writer, self._notices)
        self.sampler = parts.build_sampler(settings, self.writer, self.reporter)
        self.tailer = None
        if settings.log_path:
            self.tailer = parts.build_tailer(
                settings, self.decoders, self.intake, self.ledger, self.writer
            )
        self._workers: list[Worker] = []
        self._janitor_worker: Worker | None = None
        self._started_at = time.monotonic()
        self._is_stopped = False

    def _wake_janitor(self) -> None:
        if self._janitor_worker is not None:
            self._janitor_worker.run_soon()

    def start(self) -> None:
        """Starts the threads of this process and returns at once; the writer opens the store."""
        self._started_at = time.monotonic()
        for warning in (*self.settings.warnings, *self._notices):
            log.warning("%s", warning)
        writer = Worker("writer", at_stop=self.writer.finish, wake=self.intake.wake)
        writer.every(0, self.writer.run_once)
        self._workers.append(writer)
        self._janitor_worker = janitor = Worker("janitor")  # a thread made before a fork is dead
        for interval_s, job in (
            (self.settings.cleanup_interval, self.janitor.run_once),
            (self.settings.checkpoint_interval, self.janitor.checkpoint),
        ):
            janitor.every(interval_s, job, first_after_s=interval_s)
        self._workers.append(janitor)
        if self.push is not None:
            push = Worker("push", at_stop=self.push.finish)
            interval_s = self.settings.push_interval
            push.every(interval_s, self.push.run_once, first_after_s=interval_s)
            self._workers.append(push)
        sampler = Worker("sampler", wake=self.sampler.wake)
        interval_s = self.settings.metrics_interval
        sampler.every(interval_s, self.sampler.run_once, first_after_s=FIRST_SAMPLE_S)
        self._workers.append(sampler)
        if self.tailer is not None:
            tailer = Worker("tailer", at_stop=self.tailer.finish, wake=self.tailer.interrupt)
            tailer.every(TAIL_INTERVAL_S, self.tailer.run_once)
            self._workers.append(tailer)
        for worker in self._workers:
            worker.start()

    def stop(self, by: float, *, is_replaced: bool = False) -> None:
        """Takes no more events, stores what was taken, pushes what time allows, closes the store.

        One that `is_replaced` leaves the push to its successor, which waits for the database.
        Blocks until `by` (monotonic) at the latest. A second call does nothing.
        """
        if self._is_stopped or not self._workers:
            return
        self._is_stopped = True
        self.intake.close()
        self.janitor.end()
        by = max(by, time.monotonic() + LEAST_STOP_S)
        close_s = CLOSE_SHARE * max(0.0, by - time.monotonic())
        if self.push is not None:
            self.push.end_by(0.0 if is_replaced else by - close_s)
        if not self.intake.drained(max(0.0, by - close_s - time.monotonic())):
            log.error("%d events are still queued at the stop", len(self.intake))
        for worker in reversed(self._workers):  # the writer is last: the push needs it
            is_writer = worker is self._workers[0]
            if not worker.stop(by if is_writer else by - close_s):
                log.warning("%s did not end in time", worker.name)
        log.info("stopped: %s", msgspec.json.encode(self.ledger.counts()).decode())

    def push_now(self) -> None:
        """Begins a push pass, or another after the one that runs. For signal handlers as well."""
        for worker in self._workers:
            if worker.name == "push":
                worker.run_soon()

    def _note(self, notice: str) -> None:
        """Something of the database the owner should know: log and `/health`."""
        log.error("%s", notice)
        self._notices.append(notice)
        del self._notices[:-MAX_NOTICES]

    def _report_notice(self, notice: str) -> None:
        """What the owner must know, however late: also an error event."""
        self._note(notice)
        if not self.reporter.report(Report("system_error", None, notice, "critical")):
            log.error("this notice could not be stored: %s", notice)

    def health(self) -> dict[str, Any]:
        """The answer to `/health`. Reads counters and file sizes, no table."""
        settings, push = self.settings, self.push
        sqlite_ok = self.writer.database_status == "ok"
        workers = {worker.name: worker.state() for worker in self._workers}
        all_alive = bool(workers) and all(state["alive"] for state in workers.values())
        is_ok = sqlite_ok and all_alive and not self.intake.is_full()
        counts = self.store.row_counts
        return {
            "status": "ok" if is_ok else "degraded",
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._started_at, 1),
            "sqlite_ok": sqlite_ok,
            "db_status": self.writer.database_status,
            "db_size_bytes": store_file.size_bytes(self.store.path),
            "wal_size_bytes": store_file.size_bytes(self.store.path, "-wal"),
            "disk_percent": self._disk_percent(),
            "queue_depth": len(self.intake),
            "queue_capacity": settings.queue_capacity,
            "unpushed": counts.get("unpushed", 0),
            "last_push_time": push and push.last_push_at,
            "last_push_status": push and push.last_status,
            "push_breaker": push.breaker.state if push else BreakerState.CLOSED,
            "events": {**self.ledger.counts(), "rows": row_counts(counts)},
            "workers": workers,
            "warnings": [self._shown(warning) for warning in self._warnings()],
        }

    def _shown(self, warning: str) -> str:
        """Some quote events: a secret may stand where a model's name should."""
        return redact.text(warning) if self.settings.redact else warning

    def readings(self) -> "Readings":
        """What `/metrics` shows. Reads memory and file sizes, no table."""
        from tracer.exposition import Readings

        return Readings(
            self.health(),
            self.store.generation > 0,
            {worker.name: worker.passes for worker in self._workers},
            self.quality.counts(),
            self.calls.groups(),
            self.sampler.latest,
            self.sampler.totals,
        )

    def variables(self) -> dict[str, Any]:
        """The answer to `/debug/vars`: nothing of environment or arguments, and no secret."""
        return {
            **self.health(),
            "quality": self.quality.counts(),
            "settings": shown(self.settings),
            "runtime": runtime.describe(),
        }

    def _warnings(self) -> Iterator[str]:
        yield from self.settings.warnings
        yield from self._notices
        yield from self.prices.warnings(datetime.now(UTC).date())
        yield from self.quality.warnings()
        yield from self.sampler.warnings()
        if self.push is not None:
            yield from self.push.breaker.warnings()
        yield from self.janitor.warnings()
        if self.tailer is not None:
            yield from self.tailer.warnings()
        yield from self.heap.warnings()

    def _disk_percent(self) -> float | None:
        try:
            usage = shutil.disk_usage(self.store.path.parent)
        except OSError:
            return None
        return round(100 * usage.used / (usage.used + usage.free), 1)
