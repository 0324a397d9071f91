"""The database's own housekeeping: free pages, write-ahead log, limits, damage (SQL)."""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import peewee

from tracer import store_file, volume
from tracer.ballast import kept_log_bytes
from tracer.store import Store

RESTART_BUSY_MS: Final = 50
"""How long a reader may hold up a checkpoint, and with it the writer."""


class Pages(NamedTuple):
    """The size of the database."""

    total: int
    free: int
    bytes_each: int

    @property
    def in_use_bytes(self) -> int:
        """What the rows take."""
        return (self.total - self.free) * self.bytes_each


class Checkpoint(NamedTuple):
    """What became of one: pages in the log, and how many of them are in the database."""

    is_busy: bool
    log_pages: int
    done_pages: int


def pages(database: peewee.SqliteDatabase) -> Pages:
    """By any connection, the reading one of another thread too."""
    return Pages(
        *(_pragma(database, name) for name in ("page_count", "freelist_count", "page_size"))
    )


def held_bytes(store: Store) -> int:
    """What the file and the log give back by themselves once no other program reads. Any thread.

    Until then deleting frees nothing: it makes the log longer.
    """
    with store.reading() as reader:
        size = pages(reader)
    cut_off = store_file.size_bytes(store.path) - size.total * size.bytes_each
    log = store_file.size_bytes(store.path, "-wal") - kept_log_bytes(store.path.parent)
    return max(0, cut_off) + max(0, log)


def limit_growth(store: Store) -> Pages:
    """Sets how far the database may grow: to `max_bytes`, and without ballast not into the space
    that deleting and checkpoints need. The size, with what may be added as `free`. The writer's.

    A database that hits this limit can still delete, one that hits the end of the volume cannot.
    SQLite keeps it for a connection only, and never below the present size. Raises OSError.
    """
    size = pages(store.database)
    if store.max_bytes is None:
        growth = _pragma(store.database, "max_page_count") - size.total
        return size._replace(free=size.free + growth)
    growth = max(0, store.max_bytes // size.bytes_each - size.total)
    if not store.ballast.is_held():
        spare = volume.free_bytes(store.path.parent) - store.ballast.size_bytes
        growth = min(growth, max(0, spare // size.bytes_each))
    _pragma(store.database, f"max_page_count = {size.total + growth}")
    return size._replace(free=size.free + growth)


def room_bytes(store: Store) -> int:
    """With less than this to write to, no event is taken: the next ones could not be stored."""
    return store.ballast.size_bytes // 5


def vacuum(store: Store, page_count: int) -> int:
    """Moves up to so many free pages to the end of the file; how many are left. The writer's.

    The next checkpoint cuts them off.
    """
    # On Python 3.11 `execute` would free one page, whatever the number.
    store.database.connection().executescript(f"PRAGMA incremental_vacuum({page_count})")
    limit_growth(store)
    return _pragma(store.database, "freelist_count")


def checkpoint(store: Store, *, restart: bool) -> Checkpoint:
    """Copies the log into the database. The writer's.

    With `restart` waits up to `RESTART_BUSY_MS` for readers, and lets the next commit begin the log
    anew and cut it to `journal_size_limit`; without it waits for nobody.
    """
    busy_ms = _pragma(store.database, "busy_timeout")
    try:
        _pragma(store.database, f"busy_timeout = {RESTART_BUSY_MS}")
        mode = "RESTART" if restart else "PASSIVE"
        busy, logged, done = store.database.execute_sql(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        _pragma(store.database, f"busy_timeout = {busy_ms}")
    return Checkpoint(bool(busy), logged, done)


def has_room(store: Store) -> bool:
    """Whether new events can be stored; takes up the ballast again when the volume allows it.

    The writer's. Raises OSError.
    """
    store.ballast.take()
    left = limit_growth(store)
    return left.free * left.bytes_each >= room_bytes(store)


def drop_ballast(store: Store) -> None:
    """The volume is full: uses the space of the ballast to empty the log. The writer's.

    From now on the database does not grow, so that deleting stays possible.
    """
    store.ballast.release()
    with contextlib.suppress(peewee.DatabaseError, OSError):
        checkpoint(store, restart=False)
        limit_growth(store)


def faults(store: Store) -> Iterator[str | None]:
    """Reads every page, table by table: None, or what is wrong with it. Any thread; takes seconds.

    Each table is a transaction of its own, so the log is held only so long.
    """
    with store.reading() as reader:
        tables = reader.execute_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in tables.fetchall()]
    for name in names:
        with store.reading() as reader:
            (verdict,) = reader.execute_sql(f'PRAGMA quick_check("{name}")').fetchone()
        yield None if verdict == "ok" else str(verdict)


def _pragma(database: peewee.SqliteDatabase, name: str) -> int:
    row = database.execute_sql(f"PRAGMA {name}").fetchone()
    return int(row[0]) if row else 0
