"""What can still be read of a damaged database goes into the new one (SQL).

Read by the janitor's thread from the file that was moved aside, written by the writer.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tracer.events import KINDS, Event
from tracer.ledger import Deletion
from tracer.opening import read_only
from tracer.store import Store

CHUNK_ROWS: Final = 50
_LAST_JUMP: Final = 1 << 40


class Chunk(NamedTuple):
    """Rows of one kind that could be read, with their delivery state."""

    kind: type[Event]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def chunks(aside: Path) -> Iterator[Chunk]:
    """Everything readable, oldest first within a kind. Damaged stretches are skipped."""
    for kind in KINDS:
        try:
            with closing(_connect(aside)) as reader:
                table = kind._meta.table_name
                there = {row[1] for row in reader.execute(f"PRAGMA table_info({table})")}
                columns = [name for name in kind._meta.fields if name != "id" and name in there]
                if {"trace_id", "received_at"} <= there:
                    for rows in _readable(reader, table, columns):
                        yield Chunk(kind, columns, rows)
        except sqlite3.Error:
            continue


def counted_rows(aside: Path) -> Counter[str]:
    """How many rows it had by its own account: `pushed`, `refused`, `unpushed`. May be empty."""
    try:
        with closing(_connect(aside)) as reader:
            counts = dict(reader.execute("SELECT name, value FROM row_counts"))
    except sqlite3.Error:
        return Counter()
    return Counter({name: counts.get(name, 0) for name in ("pushed", "refused", "unpushed")})


def store_chunk(store: Store, chunk: Chunk) -> Counter[str]:
    """Stores rows as new ones of the same state, those that are whole; how many of each state,
    with those of an earlier try.
    """
    names = ", ".join(chunk.columns)
    places = ", ".join("?" * len(chunk.columns))
    sql = (
        f"INSERT INTO {chunk.kind._meta.table_name} ({names}) VALUES ({places}) "
        "ON CONFLICT (trace_id) DO NOTHING"
    )
    states: Counter[str] = Counter()
    with store.counting() as changes:
        cursor = store.database.cursor()
        for row in chunk.rows:
            values = dict(zip(chunk.columns, row, strict=True))
            if not _is_whole(values):
                continue
            try:
                cursor.execute(sql, row)
            except sqlite3.IntegrityError:
                continue
            states[_state(values)] += 1
            changes[_state(values)] += cursor.rowcount
            changes["stored"] += cursor.rowcount
    return states


def finish(store: Store, lost: Counter[str]) -> None:
    """Notes that all was tried, and the rows that could not be read: stored once, and deleted by
    the damage.
    """
    finished, why = lost["pushed"] + lost["refused"], f"deleted.{Deletion.DAMAGE}"
    with store.counting() as changes:
        changes["to_salvage"] = -store.row_counts.get("to_salvage", 0)
        if finished:
            changes.update({"stored": finished, why: finished})
        if lost["unpushed"]:
            changes.update({"stored": lost["unpushed"], f"{why}_unpushed": lost["unpushed"]})
    store.quarantined = None


def _connect(aside: Path) -> sqlite3.Connection:
    return sqlite3.connect(read_only(aside), uri=True, isolation_level=None)


def _readable(
    reader: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[list[tuple[Any, ...]]]:
    after, size = 0, CHUNK_ROWS
    while True:
        try:
            rows = _read(reader, table, columns, after, size)
        except sqlite3.DatabaseError:
            if size > 1:
                size = 1
                continue
            jump = _past_damage(reader, table, columns, after)
            if jump is None:
                return
            after += jump
            continue
        if not rows:
            return
        yield [row[1:] for row in rows]
        after, size = rows[-1][0], min(2 * size, CHUNK_ROWS)


def _past_damage(
    reader: sqlite3.Connection, table: str, columns: Sequence[str], after: int
) -> int | None:
    """How many ids to skip until a row can be read again; None if there is none."""

    def is_readable(jump: int) -> bool:
        try:
            _read(reader, table, columns, after + jump, 1)
        except sqlite3.DatabaseError:
            return False
        return True

    jump = 1
    while not is_readable(jump):
        jump *= 2
        if jump > _LAST_JUMP:
            return None
    bad = jump // 2
    while jump - bad > 1:
        middle = (bad + jump) // 2
        bad, jump = (bad, middle) if is_readable(middle) else (middle, jump)
    return jump


def _read(
    reader: sqlite3.Connection, table: str, columns: Sequence[str], after: int, limit: int
) -> list[tuple[Any, ...]]:
    return reader.execute(
        f"SELECT id, {', '.join(columns)} FROM {table} WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    ).fetchall()


def _is_whole(values: dict[str, Any]) -> bool:
    """Damage in a long value shows as bytes of zero, or as JSON that is none."""
    if not isinstance(values["trace_id"], str) or not isinstance(values["received_at"], int):
        return False
    try:
        msgspec.json.decode(values.get("metadata") or b"null")
    except (msgspec.DecodeError, TypeError, ValueError):
        return False
    return not any(
        (isinstance(v, str) and "\0" in v) or isinstance(v, bytes) for v in values.values()
    )


def _state(values: dict[str, Any]) -> str:
    if values.get("pushed_at") is not None:
        return "pushed"
    return "unpushed" if values.get("push_error") is None else "refused"
