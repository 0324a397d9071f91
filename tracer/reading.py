"""Reads back what is stored: lists in pages, and statistics. Never writes, never waits for writers.

Each call has a connection of its own and closes it before it returns, so nothing pins the
write-ahead log for longer than `DEADLINE_S`.
"""

import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Raw

from tracer import statistics, store_file
from tracer.errors import ParameterError, StoreError
from tracer.events import Event, LlmTrace
from tracer.handover import pausing
from tracer.statistics import Period
from tracer.timestamps import now_ms

MAX_LIMIT: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Most text in one page, if it holds more than one row: encoding takes twice as much again."""

DEADLINE_S: Final = 5.0
AT_ONCE: Final = 2
"""Calls at work, and as many may wait, for `WAIT_S`: request threads are there for the agent."""
WAIT_S: Final = 2.0

CACHE_KIB: Final = 512
_CHECK_EVERY: Final = 20_000
"""Steps of SQLite's machine between two looks at the clock, about a millisecond."""

_CURSOR: Final = re.compile(r"(\d{1,15})-(\d{1,18})", re.ASCII)


class Page(NamedTuple):
    """Rows, newest first; `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class Reader:
    """Any thread. All methods raise ParameterError for what cannot be asked, and StoreError when
    the database cannot be read, takes too long, or too many ask at once.
    """

    def __init__(self, path: Path, *, deadline_s: float = DEADLINE_S) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._working = threading.BoundedSemaphore(AT_ONCE)
        self._admitted = threading.BoundedSemaphore(2 * AT_ONCE)

    def page(
        self,
        kind: type[Event],
        *,
        filters: Mapping[str, str] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        cursor: str | None = None,
        limit: int = 100,
        raw_metadata: bool = False,
    ) -> Page:
        """Rows with `since_ms` <= `created_at` < `until_ms`, from where `cursor` ended.

        A row that was there before the first page comes exactly once, whatever is inserted
        meanwhile. With `raw_metadata` that column stays text (`msgspec.Raw`), which is small.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ParameterError(f"limit goes from 1 to {MAX_LIMIT}")
        last = _read_cursor(cursor) if cursor is not None else None
        period = Period.of(since_ms, until_ms)
        queries = list_queries(kind, filters or {}, period, last)
        columns = kind.listed_columns()
        items: list[dict[str, Any]] = []
        size_bytes, place = 0, ""
        with self._connection() as connection:
            rows = (connection.execute(sql, [*values, limit + 1]) for sql, values in queries)
            for created_at, row_id, *row in pausing(chain.from_iterable(rows)):
                size_bytes += sum(len(value) for value in row if isinstance(value, str))
                if len(items) == limit or (items and size_bytes > PAGE_BYTES):
                    return Page(items, place)
                item = dict(zip(columns, row, strict=True))
                item["metadata"] = decoded_metadata(item["metadata"], is_raw=raw_metadata)
                items.append(item)
                place = f"{created_at}-{row_id}"
        return Page(items, None)

    def cost(
        self, by: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> dict[str, Any]:
        """Calls, tokens and cost by one of `statistics.COST_BY` (contract section 5)."""
        with self._connection() as connection:
            return statistics.cost(connection, by, Period.of(since_ms, until_ms), now_ms())

    def latency(
        self, by: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> dict[str, Any]:
        """Exact percentiles by one of `statistics.LATENCY_BY`."""
        with self._connection() as connection:
            return statistics.latency(connection, by, Period.of(since_ms, until_ms))

    def errors(
        self, by: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> dict[str, Any]:
        """Errors and failed calls by one of `statistics.ERRORS_BY`."""
        with self._connection() as connection:
            return statistics.errors(connection, by, Period.of(since_ms, until_ms))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._turn():
            ends_at = time.monotonic() + self._deadline_s
            uri = f"file:{quote(str(self._path))}?mode=ro"
            try:
                with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                    # What does not fit is sorted in an unlinked file of the temporary folder.
                    connection.execute("PRAGMA temp_store = 1")
                    connection.set_progress_handler(
                        lambda: time.monotonic() > ends_at, _CHECK_EVERY
                    )
                    yield connection
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                    raise StoreError(
                        f"the query took longer than {self._deadline_s:g} s and was ended: "
                        "narrow since and until"
                    ) from None
                raise StoreError(store_file.explain(self._path, error)) from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._admitted.acquire(blocking=False):
            raise StoreError("too many queries at once, try again")
        try:
            if not self._working.acquire(timeout=WAIT_S):
                raise StoreError("too many queries at once, try again")
            try:
                yield
            finally:
                self._working.release()
        finally:
            self._admitted.release()


def list_queries(
    kind: type[Event],
    filters: Mapping[str, str],
    period: Period,
    last: tuple[int, int] | None,
) -> Iterator[tuple[str, list[Any]]]:
    """The SELECTs of a page, one after the other, each with a further parameter, the limit.

    After `last` come first the rest of its moment, then what is older: asked as one, SQLite would
    walk through all rows of that moment. The index is named, as it cannot know which filter is the
    most telling. Raises ParameterError.
    """
    table = kind._meta.table_name
    index, conditions, wanted = _filtered(kind, filters)
    columns = ", ".join(f'"{name}"' for name in kind.listed_columns())
    head = f"SELECT created_at, id, {columns} FROM {table} INDEXED BY {table}_{index} WHERE "
    since_ms, until_ms = period
    if last is not None:
        if since_ms <= last[0] < until_ms:
            moment = " AND ".join([*conditions, "created_at = ?", "id < ?"])
            yield f"{head}{moment} ORDER BY id DESC LIMIT ?", [*wanted, *last]
        until_ms = min(until_ms, last[0])
    older = " AND ".join([*conditions, "created_at >= ?", "created_at < ?"])
    order = "ORDER BY created_at DESC, id DESC LIMIT ?"
    yield f"{head}{older} {order}", [*wanted, since_ms, until_ms]


def _filtered(kind: type[Event], filters: Mapping[str, str]) -> tuple[str, list[str], list[str]]:
    """Which index, the conditions and their parameters."""
    for name in filters:
        if name not in kind.filters:
            can = ", ".join(kind.filters) or "nothing"
            raise ParameterError(f"cannot filter by {name[:40]!r}, but by {can}")
    names = [name for name in kind.filters if name in filters]
    conditions = [f"{name} = ?" for name in names]
    indexed = list(names)
    if kind is LlmTrace and "status" in names:  # its index holds failed calls only
        if filters["status"] == "success":
            indexed.remove("status")
        else:
            conditions.append("status <> 'success'")
    index = indexed[0] if indexed else "created_at"
    return index, conditions, [filters[name] for name in names]


def _read_cursor(cursor: str) -> tuple[int, int]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ParameterError("this cursor is not the next_cursor of an answer")
    return int(match[1]), int(match[2])


def decoded_metadata(text: str | None, *, is_raw: bool) -> Any:
    """The object. What another program made of it that is no JSON stays a string."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Raw if is_raw else Any)
    except msgspec.DecodeError:
        return text
