"""From a path to a database that is ours, whole and of today's schema; or the cause in words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import peewee

from tracer import schema, store_file
from tracer.ballast import kept_log_bytes
from tracer.errors import StoreCorrupt, StoreError
from tracer.events import KINDS

BUSY_TIMEOUT_S: Final = 10
CACHE_KIB: Final = 512
CACHED_STATEMENTS: Final = 32

PRAGMAS: Final = {
    "auto_vacuum": 2,  # INCREMENTAL; has no effect once journal_mode was set
    "journal_mode": "wal",
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
    path: Path,
    database: peewee.SqliteDatabase,
    wanted: Mapping[str, Any],
    notices: list[str],
    max_log_bytes: int | None,
) -> dict[str, int]:
    """Connects `database`, creates or migrates its tables; the persistent counters.

    What the owner should know goes to `notices`. Raises StoreCorrupt, or StoreError with the cause;
    the file is then closed and, unless it is ours, as it was.
    """
    try:
        store_file.create_private(path)
        store_file.require_file(path)
        _check_owner(path)
        store_file.make_private(path)
        database.connect()
        schema.prepare(database)
        _keep_log(path, database, max_log_bytes)
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


def _keep_log(path: Path, database: peewee.SqliteDatabase, max_bytes: int | None) -> None:
    """Gives the write-ahead log its space for good; SQLite's own checkpoint comes at that size."""
    size = kept_log_bytes(path.parent)
    size = size if max_bytes is None else min(size, max_bytes)
    (page_bytes,) = database.execute_sql("PRAGMA page_size").fetchone()
    database.execute_sql(f"PRAGMA journal_size_limit = {size}")
    database.execute_sql(f"PRAGMA wal_autocheckpoint = {max(1, size // page_bytes)}")
    store_file.reserve(path.with_name(path.name + "-wal"), size)


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
