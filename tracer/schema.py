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

VERSION: Final = 2


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


class RowCount(peewee.Model):
    """One counter of rows over the life of the database (contract section 5, `rows`)."""

    name = peewee.TextField(primary_key=True)
    value = peewee.IntegerField()

    class Meta:
        table_name = "row_counts"
        without_rowid = True


class State(peewee.Model):
    """What a part of the sidecar must still know after a restart, as JSON under its name."""

    name = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "state"
        without_rowid = True


TABLES: Final[tuple[type[peewee.Model], ...]] = (*KINDS, PushLog, RowCount, State)


def _add_state(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx([State]):
        State.create_table(safe=False)


_STEPS: Final[dict[int, Callable[[peewee.SqliteDatabase], None]]] = {1: _add_state}
"""`_STEPS[n]` turns version n into n + 1."""


def check_owner(database: peewee.SqliteDatabase) -> None:
    """Raises StoreError when the file is not ours or from a newer version. Only reads."""
    owner, version, tables = _header(database)
    if owner != APPLICATION_ID and (tables or owner):
        raise StoreError("the file is another program's database, openclaw-trace did not write it")
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
