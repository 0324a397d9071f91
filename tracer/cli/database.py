"""The database as the command sees it: from outside, beside the service that owns it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import peewee

from tracer import schema, store_file
from tracer.cli.exits import NothingThereError
from tracer.errors import StoreError

BUSY_TIMEOUT_S: Final = 10.0


def check(path: Path) -> None:
    """Raises NothingThereError without a file, StoreError when this program cannot read it."""
    if not path.exists():
        raise NothingThereError(f"there is no database at {path}: is TRACE_DB_PATH right?")
    database = peewee.SqliteDatabase(_uri(path, "ro"), uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        with database.connection_context():
            schema.check_owner(database)
            (version,) = database.execute_sql("PRAGMA user_version").fetchone()
    except peewee.DatabaseError as error:
        raise StoreError(store_file.explain(path, error)) from error
    if version != schema.VERSION:
        raise StoreError(
            f"the database has schema version {version}, this program needs {schema.VERSION}: "
            "start the service once, it migrates the file"
        )


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Keep it short: a half-read query pins the log."""
    with closing(_connect(path, "ro")) as connection:
        connection.execute("PRAGMA query_only = on")
        yield connection


def read(path: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of one query, on a connection of its own."""
    with reading(path) as connection:
        return connection.execute(sql, parameters).fetchall()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One IMMEDIATE transaction beside the service's: each waits for the other."""
    with closing(_connect(path, "rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def row_counts(path: Path) -> dict[str, int]:
    """The persistent counters of rows."""
    return dict(read(path, "SELECT name, value FROM row_counts"))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        _uri(path, mode), uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"
