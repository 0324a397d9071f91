"""From a path to a database that is ours, whole and of today's schema; or the cause in words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import peewee

from tracer import schema, store_file
from tracer.errors import StoreCorrupt, StoreError
from tracer.events import KINDS

KEPT_WAL_BYTES: Final = 4 << 20
"""What the write-ahead log keeps of the volume. Inside it rows can be written and deleted even when
no byte is free; SQLite's own checkpoint comes at this size.
"""

BUSY_TIMEOUT_S: Final = 10
CACHE_KIB: Final = 512
CACHED_STATEMENTS: Final = 32

PRAGMAS: Final = {
    "auto_vacuum": 2,  # INCREMENTAL; has no effect once journal_mode was set
    "journal_mode": "wal",
    "journal_size_limit": KEPT_WAL_BYTES,
    "cache_size": -CACHE_KIB,
    "temp_store": 2,  # MEMORY: never a file beside the database
}

_SYNCHRONOUS: Final = {"full": 2, "normal": 1}


def pragmas(synchronous: str) -> dict[str, Any]:
    """Those of the writing connection, in the order in which they must be set."""
    return PRAGMAS | {"synchronous": _SYNCHRONOUS[synchronous]}


def connections(
    path: Path, wanted: Mapping[str, Any]
) -> tuple[peewee.SqliteDatabase, peewee.SqliteDatabase]:
    """One that writes and one that reads, neither connected yet."""
    writing = peewee.SqliteDatabase(
        str(path),
        pragmas=wanted,
        timeout=BUSY_TIMEOUT_S,
        cached_statements=CACHED_STATEMENTS,
        autoconnect=False,
    )
    reading = peewee.SqliteDatabase(
        read_only(path), uri=True, timeout=BUSY_TIMEOUT_S, autoconnect=False
    )
    return writing, reading


def open_database(
    path: Path, database: peewee.SqliteDatabase, wanted: Mapping[str, Any], notices: list[str]
) -> dict[str, int]:
    """Connects `database`, creates or migrates its tables; the persistent counters.

    What the owner should know goes to `notices`. Raises StoreCorrupt, or StoreError with the cause;
    the file is then closed and, unless it is ours, as it was.
    """
    try:
        store_file.create_private(path)
        _check_owner(path)
        store_file.make_private(path)
        database.connect()
        schema.prepare(database)
        store_file.reserve(path.with_name(path.name + "-wal"), KEPT_WAL_BYTES)
        notices += _deviations(database, wanted)
        for kind in KINDS:  # damage shows when pages are read: read the newest ones
            database.execute_sql(
                f"SELECT trace_id FROM {kind._meta.table_name} ORDER BY id DESC LIMIT 10"
            ).fetchall()
        return dict(database.execute_sql("SELECT name, value FROM row_counts").fetchall())
    except (peewee.DatabaseError, OSError) as error:
        database.close()
        if store_file.is_corruption(error):
            raise StoreCorrupt(store_file.explain(path, error)) from error
        raise StoreError(store_file.explain(path, error)) from error
    except StoreError:
        database.close()
        raise


def _deviations(database: peewee.SqliteDatabase, wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        (found,) = database.execute_sql(f"PRAGMA {name}").fetchone()
        if found != value:
            yield f"SQLite kept {name} = {found}, asked for was {value}"


def _check_owner(path: Path) -> None:
    uri = read_only(path, is_closed=not store_file.had_unclean_stop(path))
    reader = peewee.SqliteDatabase(uri, uri=True, autoconnect=False)
    with reader.connection_context():
        schema.check_owner(reader)


def read_only(path: Path, *, is_closed: bool = False) -> str:
    """The URI for a reader. One that `is_closed`, without a log, gets no files beside it."""
    return f"file:{quote(str(path))}?mode=ro{'&immutable=1' if is_closed else ''}"
