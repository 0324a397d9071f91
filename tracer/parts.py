"""Builds the parts of a sidecar from its settings. Beside `service` the only one to know both."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from config.settings import Settings
from tracer import collectors, price_table
from tracer.breaker import Breaker
from tracer.collectors.runner import Runner
from tracer.decoder import EventDecoder
from tracer.detections import Detections
from tracer.encoders import native
from tracer.encoders.batch import Encoder
from tracer.events import KINDS, Event
from tracer.intake import Intake
from tracer.janitor import Janitor
from tracer.ledger import Ledger
from tracer.pricing import Prices
from tracer.push import Push
from tracer.quality import Quality
from tracer.remote import Remote
from tracer.reporter import Reporter
from tracer.sampler import Sampler
from tracer.store import Store
from tracer.watch import Watch
from tracer.writer import Writer

if TYPE_CHECKING:
    from tracer.tailer import Tailer

GROWTH_RATIO: Final = 1.25
GROWTH_BYTES: Final = 4 << 20
"""How far the database may grow above `TRACE_MAX_DB_BYTES` until the janitor has come."""


def build_store(settings: Settings) -> Store:
    return Store(
        settings.db_path,
        synchronous=settings.synchronous,
        max_bytes=round(settings.max_db_bytes * GROWTH_RATIO) + GROWTH_BYTES,
        max_log_bytes=settings.wal_max_bytes,
    )


def build_prices(settings: Settings, quality: Quality) -> Prices:
    override = Path(settings.prices_path) if settings.prices_path else None
    return Prices(price_table.SHIPPED, override, quality)


def build_decoders(settings: Settings, prices: Prices) -> dict[type[Event], EventDecoder]:
    return {
        kind: EventDecoder(
            kind,
            agent_id=settings.agent_id,
            max_text_bytes=settings.max_text_bytes,
            prices=prices,
            is_redacting=settings.redact,
        )
        for kind in KINDS
    }


def build_janitor(
    settings: Settings, store: Store, writer: Writer, report: Callable[[str], None]
) -> Janitor:
    return Janitor(
        store,
        writer.perform,
        retention_days=settings.retention_days,
        keeps_unpushed=bool(settings.push_endpoint),
        max_db_bytes=settings.max_db_bytes,
        min_db_bytes=settings.min_db_bytes,
        disk_max_percent=settings.disk_max_percent,
        wal_max_bytes=settings.wal_max_bytes,
        report=report,
    )


def build_remote(settings: Settings) -> Remote:
    return Remote(
        settings.push_endpoint,
        api_key=settings.push_api_key,
        gzip_bodies=settings.push_gzip,
        proxy=settings.push_proxy,
        ca_file=settings.push_ca_file,
    )


def build_push(settings: Settings, store: Store, writer: Writer, notices: list[str]) -> Push:
    """What speaks against the endpoint is added to the notices; then nothing is pushed."""
    remote = build_remote(settings)
    if remote.objection is not None:
        notices.append(remote.objection)
    return Push(
        store,
        remote,
        _encoder(settings.push_format),
        Breaker(threshold=settings.push_breaker, interval_s=settings.push_interval),
        writer.perform,
        agent_id=settings.agent_id,
        max_bytes=settings.push_max_bytes,
        timeout_s=settings.push_timeout,
    )


def _encoder(push_format: str) -> Encoder:
    """The module of the format: protobuf costs memory only those who ask for it."""
    if push_format == "otlp":
        from tracer.encoders import otlp

        return otlp
    return native


def build_sampler(settings: Settings, writer: Writer, reporter: Reporter) -> Sampler:
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
        reporter,
        interval_s=settings.metrics_interval,
        is_ready=lambda: writer.database_status == "ok",
    )


def build_tailer(
    settings: Settings,
    decoders: dict[type[Event], EventDecoder],
    intake: Intake,
    ledger: Ledger,
    writer: Writer,
) -> "Tailer":
    from tracer.tailer import Tailer  # only where it is asked for: memory

    return Tailer(settings.log_path, decoders, intake, ledger, writer.perform)
