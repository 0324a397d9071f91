"""The only SQL. One database file, one writing connection, short read-only ones for the rest.

Methods that write belong to the writer thread, except where said otherwise.
"""

import heapq
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import peewee

from tracer import schema, statements, store_file
from tracer.decoder import Record
from tracer.errors import StoreCorrupt, StoreError
from tracer.events import KINDS, Event
from tracer.rows import IdRanges, PushAttempt, UnpushedRow

BUSY_TIMEOUT_S: Final = 10
CACHE_KIB: Final = 512

PRAGMAS: Final = {
    "auto_vacuum": 2,  # INCREMENTAL; has no effect once journal_mode was set
    "journal_mode": "wal",
    "cache_size": -CACHE_KIB,
    "temp_store": 2,  # MEMORY: never a file beside the database
}

CACHED_STATEMENTS: Final = 32

_SYNCHRONOUS: Final = {"full": 2, "normal": 1}
_ROW_ERRORS: Final = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    ValueError,
    OverflowError,
    TypeError,
)
"""The fault of one row. All other errors are the database's."""


class Inserted(NamedTuple):
    """What became of a batch; the rest of it were duplicates. `lost`: position → error."""

    stored: int
    lost: dict[int, str]


class Store:
    """Opened, used and closed by the writer thread; `unpushed` and the counters by anyone."""

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self.path = path
        self.row_counts: Mapping[str, int] = {}
        """The counters of rows as of the last commit. Replaced as a whole, never changed."""
        self.notices: list[str] = []
        """What opening had to do that the owner should know."""
        self.generation = 0
        """Changes with each opening: ids read before may name other rows, or none."""
        self._damage: str | None = None
        self._file_id: tuple[int, int] | None = None
        self._lock = store_file.InstanceLock(path)
        self._pragmas = PRAGMAS | {"synchronous": _SYNCHRONOUS[synchronous]}
        self._database = peewee.SqliteDatabase(
            str(path),
            pragmas=self._pragmas,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=CACHED_STATEMENTS,
            autoconnect=False,
        )
        self._reader = peewee.SqliteDatabase(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, autoconnect=False
        )
        self._unpushed_sql = {kind: statements.unpushed(kind) for kind in KINDS}

    @property
    def is_open(self) -> bool:
        """Whether the writing connection of this thread is open."""
        return not self._database.is_closed()

    def open(self) -> None:
        """Takes the instance lock, opens or creates the file, migrates it, reads the counters.

        A damaged file is moved aside and a new one begun. Raises StoreLocked while another
        instance has it, StoreError with the cause in words when it cannot be opened.
        """
        self._lock.acquire()
        try:
            if self._damage is not None:
                raise StoreCorrupt(self._damage)
            self._open()
        except StoreCorrupt as error:
            try:
                self.notices.append(store_file.quarantine(self.path, str(error)))
            except OSError as why:
                raise StoreError(f"{error}, and cannot be moved aside: {why.strerror}") from why
            self._damage = None
            self._open()

    def _open(self) -> None:
        try:
            store_file.create_private(self.path)
            with self._reader.connection_context():
                schema.check_owner(self._reader)
            self._database.connect()
            schema.prepare(self._database)
            self._check_pragmas()
            counts = self._database.execute_sql("SELECT name, value FROM row_counts").fetchall()
            for kind in KINDS:  # damage shows when pages are read: read the newest ones
                self._database.execute_sql(
                    f"SELECT trace_id FROM {kind._meta.table_name} ORDER BY id DESC LIMIT 10"
                ).fetchall()
        except (peewee.DatabaseError, OSError) as error:
            self._database.close()
            if store_file.is_corruption(error):
                raise StoreCorrupt(store_file.explain(self.path, error)) from error
            raise StoreError(store_file.explain(self.path, error)) from error
        except StoreError:
            self._database.close()
            raise
        self.row_counts = dict(counts)
        self._file_id = store_file.identity(self.path)
        self.generation += 1

    def _check_pragmas(self) -> None:
        for name, wanted in self._pragmas.items():
            (found,) = self._database.execute_sql(f"PRAGMA {name}").fetchone()
            if found != wanted:
                self.notices.append(f"SQLite kept {name} = {found}, asked for was {wanted}")

    def is_gone(self) -> bool:
        """Whether the open file is no longer the one at the path: SQLite would not notice."""
        return store_file.identity(self.path) != self._file_id

    def insert(self, records: Sequence[Record]) -> Inserted:
        """Stores a batch in one transaction. A row whose `trace_id` is known changes nothing.

        One bad row costs only itself: the batch is tried again row by row. Raises the error of
        SQLite when the database, not a row, is at fault; offered again, nothing is stored twice.
        """
        try:
            return Inserted(self._insert(records), {})
        except _ROW_ERRORS:
            return self._insert_one_by_one(records)

    def _insert(self, records: Sequence[Record]) -> int:
        with self._database.atomic("IMMEDIATE"):
            stored = self._execute_inserts(records)
            counts = self._count(stored=stored, unpushed=stored)
        self.row_counts = counts
        return stored

    def _insert_one_by_one(self, records: Sequence[Record]) -> Inserted:
        stored, lost = 0, {}
        with self._database.atomic("IMMEDIATE"):
            for position, record in enumerate(records):
                try:
                    with self._database.savepoint():
                        stored += self._execute_inserts([record])
                except _ROW_ERRORS as error:
                    lost[position] = f"{type(error).__name__}: {error}"
            counts = self._count(stored=stored, unpushed=stored)
        self.row_counts = counts
        return Inserted(stored, lost)

    def _execute_inserts(self, records: Sequence[Record]) -> int:
        cursor = self._database.cursor()
        stored = 0
        for sql, values in statements.inserts(records):
            cursor.execute(sql, values)
            stored += cursor.rowcount
        return stored

    def became_rows(self, records: Iterable[Record]) -> Iterator[Record]:
        """Of a batch just inserted, those that were not known before: the first with its identity,
        if the row has its time of arrival.
        """
        for record in {(r.kind, r.trace_id): r for r in reversed(list(records))}.values():
            row = self._database.execute_sql(
                f"SELECT received_at FROM {record.kind._meta.table_name} WHERE trace_id = ?",
                (record.trace_id,),
            ).fetchone()
            if row == (record.received_at,):
                yield record

    def unpushed(self, among: IdRanges | None = None) -> Generator[UnpushedRow, None, None]:
        """Rows no remote has confirmed or refused, all kinds together, oldest first.

        With `among` only those of an earlier batch. Any thread. Close the iterator before talking
        to the network: a half-read one pins the write-ahead log.
        """
        with self._reader.connection_context():
            last_ids = dict.fromkeys(KINDS, statements.LAST_ID if among is None else 0)
            last_ids.update((kind, last) for kind, (_, last) in (among or {}).items())
            yield from heapq.merge(
                *(self._unpushed_of(kind, last) for kind, last in last_ids.items()),
                key=lambda row: row.received_at,
            )

    def _unpushed_of(self, kind: type[Event], last_id: int) -> Iterator[UnpushedRow]:
        with closing(self._reader.cursor()) as cursor:
            for row_id, received_at, *values in cursor.execute(
                self._unpushed_sql[kind], (last_id,)
            ):
                yield UnpushedRow(kind, row_id, received_at, values)

    def mark_pushed(self, ranges: IdRanges, attempt: PushAttempt, generation: int) -> int:
        """Notes in one transaction that a remote confirmed these rows; how many it still has.

        Raises StoreError when the database was opened again since they were read.
        """
        if generation != self.generation:
            raise StoreError("the database was opened anew, its rows may be others: not marked")
        marked = 0
        with self._database.atomic("IMMEDIATE"):
            for kind, (first, last) in ranges.items():
                marked += (
                    kind.update(pushed_at=attempt.created_at)
                    .where(
                        kind.id.between(first, last),
                        kind.pushed_at.is_null(),
                        kind.push_error.is_null(),
                    )
                    .execute(self._database)
                )
            self._log(attempt)
            counts = self._count(pushed=marked, unpushed=-marked)
        self.row_counts = counts
        return marked

    def log_push(self, attempt: PushAttempt) -> None:
        """Notes a push that confirmed nothing."""
        with self._database.atomic("IMMEDIATE"):
            self._log(attempt)

    def _log(self, attempt: PushAttempt) -> None:
        schema.PushLog.insert(attempt._asdict()).execute(self._database)

    def _count(self, **changes: int) -> Mapping[str, int]:
        """Adds to the persistent counters, in the caller's transaction; the new values."""
        places = ", ".join(["(?, ?)"] * len(changes))
        self._database.cursor().execute(
            f"INSERT INTO row_counts (name, value) VALUES {places} "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            list(chain(*changes.items())),
        )
        counts = dict(self.row_counts)
        for name, change in changes.items():
            counts[name] = counts.get(name, 0) + change
        return counts

    def close_damaged(self, why: str) -> None:
        """Closes; the next `open` moves the file aside."""
        self._damage = why
        self._database.close()

    def close(self) -> None:
        """Writes the log back into the file, truncates it and closes. Never raises."""
        with closing(self._lock):
            if self._database.is_closed():
                return
            try:
                # A reader would make this wait; at the end there is no time for that.
                self._database.execute_sql("PRAGMA busy_timeout = 200")
                self._database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except peewee.DatabaseError:
                pass  # the log is replayed at the next start
            self._database.close()
