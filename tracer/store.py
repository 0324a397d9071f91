"""The database: one file, one writing connection, short read-only ones for the rest.

Methods that write belong to the writer thread, except where said otherwise. SQL is here and in the
modules beside: `statements`, `schema`, `opening`, `retention`, `maintenance`, `salvage`.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import peewee

from tracer import opening, schema, statements, store_file
from tracer.ballast import Ballast
from tracer.decoder import Record
from tracer.errors import StoreCorrupt, StoreError
from tracer.ledger import Loss
from tracer.outbox import Outbox

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
    """Opened, used and closed by the writer thread; `reading` and the counters by anyone."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str,
        max_bytes: int | None = None,
        max_log_bytes: int | None = None,
    ) -> None:
        self.path = path = store_file.resolved(path)
        self.max_bytes = max_bytes
        """The database grows no further, see `maintenance.limit_growth`; None: as SQLite likes."""
        self.row_counts: Mapping[str, int] = {}
        """The counters of rows as of the last commit. Replaced as a whole, never changed."""
        self.notices: list[str] = []
        """What opening had to do that the owner should know."""
        self.generation = 0
        """Changes with each opening: ids read before may name other rows, or none."""
        self.is_checked = True
        """False when a stop without closing calls for a look at all pages."""
        self.quarantined: Path | None = None
        """A damaged database that opening moved aside, whose rows were not yet taken over."""
        self.ballast = Ballast(path)
        self.wal_path = path.with_name(path.name + "-wal")
        self._max_log_bytes = max_log_bytes
        self._damage: str | None = None
        self._file_ids: tuple[object, object] = (None, None)
        self._lock = store_file.InstanceLock(path)
        self._pragmas = opening.pragmas(synchronous)
        self._database, self._reader = opening.connections(path, self._pragmas)
        self.outbox = Outbox(self._database, self._reader, self.counting)

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
        self.ballast.release_if_full()
        self.is_checked = not store_file.had_unclean_stop(self.path)
        try:
            if self._damage is not None:
                raise StoreCorrupt(self._damage)
            self._open()
        except StoreCorrupt as error:
            self._begin_anew(error)
        self.ballast.take()

    def _open(self) -> None:
        self.row_counts = opening.open_database(
            self.path, self._database, self._pragmas, self.notices, self._max_log_bytes
        )
        self.quarantined = None
        if self.row_counts.get("to_salvage"):
            self.quarantined = store_file.find_quarantined(self.path)
        self._file_ids = self._identities()
        self.generation += 1

    def _begin_anew(self, damage: StoreCorrupt) -> None:
        try:
            aside = store_file.quarantine(self.path)
        except OSError as why:
            raise StoreError(f"{damage}, and cannot be moved aside: {why.strerror}") from why
        self.notices.append(f"{damage}: moved aside to {aside} and began a new one")
        self._damage, self.is_checked = None, True
        self._open()
        with self.counting() as changes:
            changes["to_salvage"] = 1
        self.quarantined = aside

    def is_gone(self) -> bool:
        """Whether the open file, or its log, is no longer the one at the path.

        SQLite would not notice and go on writing to what nobody finds again.
        """
        return self._identities() != self._file_ids

    def _identities(self) -> tuple[object, object]:
        return store_file.identity(self.path), store_file.identity(self.wal_path)

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
        with self.counting() as changes:
            stored = self._execute_inserts(records)
            changes.update(stored=stored, unpushed=stored)
        return stored

    def _insert_one_by_one(self, records: Sequence[Record]) -> Inserted:
        stored, lost = 0, {}
        with self.counting() as changes:
            for position, record in enumerate(records):
                try:
                    with self._database.savepoint():
                        stored += self._execute_inserts([record])
                except _ROW_ERRORS as error:
                    lost[position] = f"{type(error).__name__}: {error}"
            changes.update(stored=stored, unpushed=stored)
            changes[f"lost.{Loss.ROW_REFUSED}"] += len(lost)
        return Inserted(stored, lost)

    def _execute_inserts(self, records: Sequence[Record]) -> int:
        cursor = self._database.cursor()
        stored = 0
        for sql, values in statements.inserts(records):
            cursor.execute(sql, values)
            stored += cursor.rowcount
        return stored

    def count_lost(self, reason: str, count: int) -> None:
        """Notes that accepted events could not be stored, for the remote to be told."""
        with self.counting() as changes:
            changes[f"lost.{reason}"] += count

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

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """A transaction; what is added to the counter joins the persistent counters with it."""
        changes: Counter[str] = Counter()
        with self._database.atomic("IMMEDIATE"):
            yield changes
            counts = self._count(changes)
        self.row_counts = counts

    def _count(self, changes: Mapping[str, int]) -> Mapping[str, int]:
        counts = dict(self.row_counts)
        if changes:
            places = ", ".join(["(?, ?)"] * len(changes))
            self._database.cursor().execute(
                f"INSERT INTO row_counts (name, value) VALUES {places} "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                list(chain(*changes.items())),
            )
            for name, change in changes.items():
                counts[name] = counts.get(name, 0) + change
        return counts

    @property
    def database(self) -> peewee.SqliteDatabase:
        """The writing connection, for the modules beside; the writer thread's."""
        return self._database

    @contextmanager
    def reading(self) -> Iterator[peewee.SqliteDatabase]:
        """A connection that only reads. Any thread. Keep it short: it pins the log."""
        with self._reader.connection_context():
            yield self._reader

    def remember(self, name: str, value: str) -> None:
        """Keeps what a part of the sidecar needs after a restart."""
        with self._database.atomic("IMMEDIATE"):
            schema.State.insert(name=name, value=value).on_conflict_replace().execute(
                self._database
            )

    def recall(self, name: str) -> str | None:
        """What was last remembered under this name."""
        query = schema.State.select(schema.State.value).where(schema.State.name == name)
        return query.scalar(self._database)  # type: ignore[no-any-return]

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
