"""The composition root: builds the parts, starts and stops them in order, reports their health."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from config.settings import Settings
from tracer import __version__, collectors, store_file
from tracer.collectors.runner import Runner
from tracer.decoder import EventDecoder
from tracer.detections import Detections
from tracer.events import KINDS
from tracer.intake import Intake
from tracer.ledger import Ledger
from tracer.pricing import Prices
from tracer.push import Push
from tracer.quality import Quality
from tracer.remote import Remote
from tracer.reporter import Report, Reporter
from tracer.sampler import Sampler
from tracer.store import Store
from tracer.watch import Watch
from tracer.worker import Worker
from tracer.writer import Writer

log = logging.getLogger(__name__)

SHIPPED_PRICES: Final = Path(__file__).parent.parent / "config" / "prices.json"

CLOSE_SHARE: Final = 0.2
"""Part of the shutdown budget that the final push leaves for checkpoint and close."""


FIRST_SAMPLE_S: Final = 1.0
"""After the start: the database is open by then, and the rates have a baseline soon."""

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
        self.store = Store(settings.db_path, synchronous=settings.synchronous)
        self.quality = Quality()
        override = Path(settings.prices_path) if settings.prices_path else None
        self.prices = Prices(SHIPPED_PRICES, override, self.quality)
        self.decoders = {
            kind: EventDecoder(
                kind,
                agent_id=settings.agent_id,
                max_text_bytes=settings.max_text_bytes,
                prices=self.prices,
                is_redacting=settings.redact,
            )
            for kind in KINDS
        }
        self.reporter = Reporter(self.decoders, self.intake, self.ledger)
        self.writer = Writer(
            self.store, self.intake, window_s=settings.batch_window, report=self._report_notice
        )
        self._notices: list[str] = []
        self.push = None
        if settings.push_endpoint and settings.push_format == "json":
            self.push = self._build_push()
        elif settings.push_endpoint:
            self._notices.append("TRACE_PUSH_FORMAT=otlp is not there yet: nothing is pushed")
        self.sampler = self._build_sampler()
        self._workers: list[Worker] = []
        self._started_at = time.monotonic()
        self._is_stopped = False

    def _build_push(self) -> Push:
        settings = self.settings
        remote = Remote(
            settings.push_endpoint,
            api_key=settings.push_api_key,
            gzip_bodies=settings.push_gzip,
            proxy=settings.push_proxy,
            ca_file=settings.push_ca_file,
        )
        return Push(
            self.store,
            remote,
            self.ledger,
            self.writer.perform,
            agent_id=settings.agent_id,
            max_bytes=settings.push_max_bytes,
            timeout_s=settings.push_timeout,
        )

    def _build_sampler(self) -> Sampler:
        settings = self.settings
        folder, watch = settings.db_path.parent, Watch()
        state_folder = os.environ.get("OPENCLAW_STATE_DIR")  # the agent's own variable
        sources = collectors.build(
            folder=folder,
            mode=settings.metrics_scope,
            watch=settings.watch_process,
            dns_probes=settings.dns_probes,
            state_folder=Path(state_folder) if state_folder else None,
        )
        return Sampler(
            Runner(sources),
            Detections(folder, settings.disk_max_percent, watch),
            watch,
            self.reporter,
            interval_s=settings.metrics_interval,
            is_ready=lambda: self.writer.database_status == "ok",
        )

    def start(self) -> None:
        """Starts the threads of this process and returns at once; the writer opens the store."""
        self._started_at = time.monotonic()
        for warning in (*self.settings.warnings, *self._notices):
            log.warning("%s", warning)
        writer = Worker("writer", at_stop=self.writer.finish, wake=self.intake.wake)
        writer.every(0, self.writer.run_once)
        self._workers.append(writer)
        if self.push is not None:
            push = Worker("push", at_stop=self.push.finish)
            interval_s = self.settings.push_interval
            push.every(interval_s, self.push.run_once, first_after_s=interval_s)
            self._workers.append(push)
        sampler = Worker("sampler", wake=self.sampler.wake)
        interval_s = self.settings.metrics_interval
        sampler.every(interval_s, self.sampler.run_once, first_after_s=FIRST_SAMPLE_S)
        self._workers.append(sampler)
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
                worker.hurry()

    def _report_notice(self, notice: str) -> None:
        """Something of the database the owner must know: log, `/health` and an error event."""
        self._notices.append(notice)
        if not self.reporter.report(Report("system_error", None, notice, "critical")):
            log.error("%s (and this could not be stored)", notice)

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
            "db_size_bytes": store_file.size_bytes(settings.db_path),
            "wal_size_bytes": store_file.size_bytes(settings.db_path, "-wal"),
            "disk_percent": self._disk_percent(),
            "queue_depth": len(self.intake),
            "queue_capacity": settings.queue_capacity,
            "unpushed": counts.get("unpushed", 0),
            "last_push_time": push and push.last_push_at,
            "last_push_status": push and push.last_status,
            "push_breaker": "closed",
            "events": {**self.ledger.counts(), "rows": _row_ledger(counts)},
            "workers": workers,
            "warnings": list(self._warnings()),
        }

    def _warnings(self) -> Iterator[str]:
        yield from self.settings.warnings
        yield from self._notices
        yield from self.prices.warnings(datetime.now(UTC).date())
        yield from self.quality.warnings()
        yield from self.sampler.warnings()
        if self.push is not None and self.push.failed_passes:
            yield f"push {self.push.last_status} ({self.push.failed_passes} passes in a row)"

    def _disk_percent(self) -> float | None:
        try:
            usage = shutil.disk_usage(self.settings.db_path.parent)
        except OSError:
            return None
        return round(100 * usage.used / (usage.used + usage.free), 1)


def _row_ledger(counts: Any) -> dict[str, Any]:
    """The persistent counters as the contract names them; `deleted.<reason>` becomes a group."""
    prefix = "deleted."
    rows: dict[str, Any] = {
        name: counts.get(name, 0) for name in ("stored", "pushed", "unpushed", "refused")
    }
    rows["deleted"] = {
        name.removeprefix(prefix): value
        for name, value in counts.items()
        if name.startswith(prefix)
    }
    return rows
