"""The tables, their version and how older files become today's (contract section 4).

`user_version` counts the changes below; a file from a newer version is refused. A change of the
models comes with a step here, and the test compares a migrated file with a fresh one.
"""

from collections.abc import Callable
from typing import Final

import peewee
from playhouse.sqlite_ext import AutoIncrementField

from tracer.errors import StoreError
from tracer.events import KINDS

APPLICATION_ID: Final = 0x0C1A_77AC
"""Says in the header of the file whose it is, so that nobody else's database gets our tables."""

VERSION: Final = 6

_SYSTEM_METRICS: Final = """
cpu_percent N cpu_user_percent N cpu_system_percent N cpu_idle_percent N cpu_steal_percent N
cpu_cores_used N cpu_cores_limit N cpu_throttled_percent N load_1m N load_5m N load_15m N
cpu_scope T mem_rss_bytes I mem_used_bytes I mem_available_bytes I mem_total_bytes I mem_percent N
swap_used_bytes I mem_scope T oom_kills I psi_cpu_percent N psi_mem_percent N psi_io_percent N
disk_total_bytes I disk_used_bytes I disk_free_bytes I disk_percent N disk_read_bytes I
disk_write_bytes I disk_read_bytes_per_s N disk_write_bytes_per_s N net_rx_bytes I net_tx_bytes I
net_connections I net_established I net_errors I net_drops I dns_ms N dns_failures I processes I
zombies I gateway_up I gateway_pid I gateway_cpu_percent N gateway_rss_bytes I tracer_rss_bytes I
tracer_cpu_percent N tracer_threads I tracer_gc_collections I interval_ms I
"""
_PROCESS_METRICS: Final = """
pid I ppid I name T state T cpu_percent N rss_bytes I threads I started_at I is_gateway I
"""


def _add_metrics(database: peewee.Database) -> None:
    """1 → 2: the tables of the sampler, as they were then: models may change, a step may not."""
    types = {"I": "INTEGER", "N": "NUMERIC", "T": "TEXT"}
    tables = {"system_metrics": _SYSTEM_METRICS, "process_metrics": _PROCESS_METRICS}
    for table, names in tables.items():
        words = names.split()
        own = [f'"{n}" {types[t]}' for n, t in zip(words[::2], words[1::2], strict=True)]
        database.execute_sql(
            f'CREATE TABLE "{table}" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
            '"trace_id" TEXT NOT NULL, "otel_trace_id" TEXT, "span_id" TEXT, '
            '"created_at" INTEGER NOT NULL, "received_at" INTEGER NOT NULL, "agent_id" TEXT, '
            '"metadata" TEXT, "pushed_at" INTEGER, "push_error" TEXT, ' + ", ".join(own) + ")"
        )
        database.execute_sql(f'CREATE UNIQUE INDEX "{table}_trace_id" ON "{table}" ("trace_id")')
        database.execute_sql(
            f"CREATE INDEX {table}_unpushed ON {table} (id) "
            "WHERE pushed_at IS NULL AND push_error IS NULL"
        )


def _add_push_intent(database: peewee.Database) -> None:
    """2 → 3: what is about to be sent, so that it is sent again after a crash."""
    database.execute_sql(
        'CREATE TABLE "push_intent" ("id" INTEGER NOT NULL PRIMARY KEY, "batch_id" TEXT NOT NULL, '
        '"sent_at" INTEGER NOT NULL, "attempt" INTEGER NOT NULL, "ranges" TEXT NOT NULL, '
        '"dropped" TEXT NOT NULL)'
    )


_READING_INDEXES: Final = (
    "llm_traces_created_at ON llm_traces (created_at)",
    "llm_traces_provider ON llm_traces (provider, created_at)",
    "llm_traces_model ON llm_traces (model, created_at, id, provider)",
    "llm_traces_calls ON llm_traces (model, provider, agent_id, operation, created_at, "
    "prompt_tokens, completion_tokens, total_tokens, cost_usd, latency_ms, ttft_ms)",
    "llm_traces_session_id ON llm_traces (session_id, created_at, id, operation, "
    "prompt_tokens, completion_tokens, total_tokens, cost_usd)",
    "llm_traces_status ON llm_traces (created_at, id, status, error_type, model) "
    "WHERE status <> 'success'",
    "error_events_created_at ON error_events (created_at)",
    "error_events_error_type ON error_events (error_type, created_at)",
    "error_events_category ON error_events (category, created_at)",
    "error_events_severity ON error_events (severity, created_at)",
    "error_events_provider ON error_events (provider, created_at)",
    "error_events_model ON error_events (model, created_at)",
    "error_events_session_id ON error_events (session_id, created_at)",
    "custom_events_created_at ON custom_events (created_at)",
    "custom_events_name ON custom_events (name, created_at)",
    "custom_events_severity ON custom_events (severity, created_at)",
    "custom_events_session_id ON custom_events (session_id, created_at)",
    "system_metrics_created_at ON system_metrics (created_at)",
    "process_metrics_created_at ON process_metrics (created_at)",
    "process_metrics_name ON process_metrics (name, created_at)",
)
"""For lists: the filter, then the order, which is (`created_at`, `id`); an index ends in the id by
itself. `llm_traces_calls` and two others carry all that the statistics read. None begins with a
measured value: its rows would be scattered over all pages, and each insert would write 3 KB more.
"""


def _add_reading_indexes(database: peewee.Database) -> None:
    """5 → 6: what lists and statistics walk along."""
    for index in _READING_INDEXES:
        database.execute_sql(f"CREATE INDEX {index}")


class PushLog(peewee.Model):
    """One try to push one batch."""

    id = AutoIncrementField()
    batch_id = peewee.TextField()
    created_at = peewee.IntegerField()
    status = peewee.TextField()
    http_status = peewee.IntegerField(null=True)
    events_pushed = peewee.IntegerField()
    bytes = peewee.IntegerField()
    duration_ms = peewee.IntegerField()
    attempt = peewee.IntegerField()
    error_message = peewee.TextField(null=True)

    class Meta:
        table_name = "push_log"


class PushIntent(peewee.Model):
    """The one batch that is being sent: a row while there is no answer (`rows.Intent`)."""

    id = peewee.IntegerField(primary_key=True)
    batch_id = peewee.TextField()
    sent_at = peewee.IntegerField()
    attempt = peewee.IntegerField()
    ranges = peewee.TextField()
    dropped = peewee.TextField()

    class Meta:
        table_name = "push_intent"


class RowCount(peewee.Model):
    """One counter over the life of the database: rows (contract section 5, `rows`), events that
    were lost before they became rows (`lost.<reason>`), losses the remote was told of
    (`reported.<reason>`).
    """

    name = peewee.TextField(primary_key=True)
    value = peewee.IntegerField()

    class Meta:
        table_name = "row_counts"
        without_rowid = True


class Clock(peewee.Model):
    """`age_clock.ClockState`, in one row."""

    id = peewee.IntegerField(primary_key=True)
    boot_id = peewee.TextField()
    uptime_ms = peewee.IntegerField()
    wall_at = peewee.IntegerField()
    age_at = peewee.IntegerField()
    held_ms = peewee.IntegerField()

    class Meta:
        table_name = "clock"


class State(peewee.Model):
    """What a part of the sidecar must still know after a restart, as JSON under its name."""

    name = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "state"
        without_rowid = True


TABLES: Final[tuple[type[peewee.Model], ...]] = (
    *KINDS,
    PushLog,
    PushIntent,
    RowCount,
    Clock,
    State,
)


def _add_clock(database: peewee.Database) -> None:
    """3 → 4: the time by which rows grow old."""
    with database.bind_ctx([Clock], bind_refs=False, bind_backrefs=False):
        Clock.create_table(safe=False)


def _add_state(database: peewee.Database) -> None:
    """4 → 5: what parts of the sidecar remember."""
    with database.bind_ctx([State], bind_refs=False, bind_backrefs=False):
        State.create_table(safe=False)


_STEPS: Final[dict[int, Callable[[peewee.Database], None]]] = {
    1: _add_metrics,
    2: _add_push_intent,
    3: _add_clock,
    4: _add_state,
    5: _add_reading_indexes,
}
"""`_STEPS[n]` turns version n into n + 1."""


def check_owner(database: peewee.SqliteDatabase) -> None:
    """Raises StoreError when the file is not ours or from a newer version. Only reads."""
    owner, version, tables = _header(database)
    if owner != APPLICATION_ID and (tables or owner or version):
        raise StoreError("the file is another program's database, openclaw-trace did not write it")
    if tables and version < 1:
        raise StoreError(
            f"the database has schema version {version}, which no release has written: restore or "
            "move the file"
        )
    if version > VERSION:
        raise StoreError(
            f"the database has schema version {version} and this program knows up to {VERSION}: "
            "install the newer version again"
        )


def prepare(database: peewee.SqliteDatabase) -> None:
    """Creates or migrates the tables of a file that `check_owner` let pass, in one transaction."""
    _, version, tables = _header(database)
    if version == VERSION:
        return
    with database.atomic("IMMEDIATE"):
        if tables:
            for step in range(version, VERSION):
                _STEPS[step](database)
        else:
            _create(database)
        database.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute_sql(f"PRAGMA user_version = {VERSION}")


def _header(database: peewee.SqliteDatabase) -> tuple[int, int, int]:
    """Application id, schema version and number of tables and indexes."""
    (owner,) = database.execute_sql("PRAGMA application_id").fetchone()
    (version,) = database.execute_sql("PRAGMA user_version").fetchone()
    (tables,) = database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
    return owner, version, tables


def _create(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(TABLES, bind_refs=False, bind_backrefs=False):
        for table in TABLES:
            table.create_table(safe=False)
    for kind in KINDS:
        # What a push pass walks along: empty as long as the remote keeps up.
        name = kind._meta.table_name
        database.execute_sql(
            f"CREATE INDEX {name}_unpushed ON {name} (id) "
            "WHERE pushed_at IS NULL AND push_error IS NULL"
        )
    _add_reading_indexes(database)
