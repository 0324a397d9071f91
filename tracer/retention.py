"""Which rows go first, and their deletion (contract section 4; SQL).

What may go is read by the janitor's thread, deleting is the writer's. All walks follow the ids,
that is the order of arrival: no index is needed, and nothing is read that does not go.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import peewee

from tracer.age_clock import ClockState
from tracer.errors import StoreError
from tracer.events import KINDS, Event
from tracer.ledger import Deletion
from tracer.statements import LAST_ID
from tracer.store import Store

_EVICTION_ORDER: Final = (
    "system_metric",
    "process_metric",
    "custom_event",
    "error_event",
    "llm_trace",
)
"""What no remote has yet goes in this order: first what is replaced every few seconds."""

CLOCK_SKEW_MS: Final = 60_000
_WALK_IDS: Final = 10_000
_CLOCK_COLUMNS: Final = ", ".join(ClockState._fields)
_FINISHED: Final = "(pushed_at IS NOT NULL OR push_error IS NOT NULL)"


class Doomed(NamedTuple):
    """Rows of one kind to delete, by their ids; with `only_finished` not those still to be
    pushed.
    """

    kind: type[Event]
    first: int
    last: int
    only_finished: bool


def aged(
    store: Store, *, before: int, now: int, only_finished: bool, size: int
) -> Iterator[Doomed]:
    """Rows that arrived before that time, `size` at a time.

    A walk ends at the first row that is younger. One from the future, which a clock that was wrong
    for a while left behind, does not end it, and goes with those that arrived after it.
    """
    for kind in KINDS:
        ids = _aged_ids(store, kind, before, now, only_finished)
        if ids is not None:
            for first in range(ids[0], ids[1] + 1, size):
                yield Doomed(kind, first, min(first + size - 1, ids[1]), only_finished)


def _aged_ids(
    store: Store, kind: type[Event], before: int, now: int, only_finished: bool
) -> tuple[int, int] | None:
    """The first and the last id of the walk."""
    with store.reading() as reader:
        end = _first_unpushed(reader, kind) if only_finished else LAST_ID
        ends = (f"SELECT {name}(id) FROM {_table(kind)} WHERE id < ?" for name in ("min", "max"))
        first, newest = (reader.execute_sql(sql, (end,)).fetchone()[0] for sql in ends)
    if first is None:
        return None
    is_young = f"received_at BETWEEN {before} AND {now + CLOCK_SKEW_MS}"
    young = _find(store, kind, range(first, newest + 1), is_young, "ASC")
    aged = range(first, newest + 1 if young is None else young)
    last = _find(store, kind, aged, f"received_at < {before}", "DESC")
    return None if last is None else (first, last)


def _find(
    store: Store, kind: type[Event], ids: range, condition: str, order: Literal["ASC", "DESC"]
) -> int | None:
    """The first or the last row of a kind. SQLite alone walks, as each row it handed over would
    hold the interpreter's lock; a part at a time, so that no read lasts.
    """
    sql = (
        f"SELECT id FROM {_table(kind)} WHERE id >= ? AND id < ? AND {condition} "
        f"ORDER BY id {order} LIMIT 1"
    )
    starts = ids[::_WALK_IDS]
    for start in starts if order == "ASC" else reversed(starts):
        with store.reading() as reader:
            row = reader.execute_sql(sql, (start, min(start + _WALK_IDS, ids.stop))).fetchone()
        if row is not None:
            return int(row[0])
    return None


def oldest_first(store: Store, size: int) -> Iterator[Doomed]:
    """All rows, `size` at a time: those that a remote has or never wants, by age over all kinds,
    then the others kind by kind. To be consumed only as far as each step was deleted.
    """
    yield from _finished(store, size)
    for kind in sorted(KINDS, key=_eviction_rank):
        while True:
            with store.reading() as reader:
                rows = _arrivals(reader, kind, 0, LAST_ID, size)
            if not rows:
                break
            yield Doomed(kind, rows[0][0], rows[-1][0], only_finished=False)


def _finished(store: Store, size: int) -> Iterator[Doomed]:
    heads = {kind: _finished_head(store, kind, size) for kind in KINDS}
    while left := [(head[0], kind.__name__, kind) for kind, head in heads.items() if head]:
        *_, kind = min(left)
        head = heads[kind]
        assert head is not None
        yield head[1]
        heads[kind] = _finished_head(store, kind, size)
    for kind in KINDS:  # the rest lies behind unpushed ones: rare, so look only if there is any
        after = 0
        while store.row_counts.get("pushed", 0) + store.row_counts.get("refused", 0) > 0:
            ids = _finished_ids_after(store, kind, after, size)
            if not ids:
                break
            after = ids[-1]
            yield Doomed(kind, ids[0], after, only_finished=True)


def _finished_head(store: Store, kind: type[Event], size: int) -> tuple[int, Doomed] | None:
    """When the oldest finished row arrived, and it with the next ones."""
    with store.reading() as reader:
        rows = _arrivals(reader, kind, 0, _first_unpushed(reader, kind), size)
    if not rows:
        return None
    return rows[0][1], Doomed(kind, rows[0][0], rows[-1][0], only_finished=True)


def _finished_ids_after(store: Store, kind: type[Event], after: int, size: int) -> list[int]:
    with store.reading() as reader:
        rows = reader.execute_sql(
            f"SELECT id FROM {_table(kind)} WHERE id > ? AND {_FINISHED} ORDER BY id LIMIT ?",
            (after, size),
        ).fetchall()
    return [row_id for (row_id,) in rows]


def _first_unpushed(reader: peewee.SqliteDatabase, kind: type[Event]) -> int:
    """All rows before this id are finished. Found in the index of the unpushed."""
    row = reader.execute_sql(
        f"SELECT id FROM {_table(kind)} WHERE pushed_at IS NULL AND push_error IS NULL "
        "ORDER BY id LIMIT 1"
    ).fetchone()
    return LAST_ID if row is None else int(row[0])


def _arrivals(
    reader: peewee.SqliteDatabase, kind: type[Event], after: int, end: int, limit: int
) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = reader.execute_sql(
        f"SELECT id, received_at FROM {_table(kind)} WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
        (after, end, limit),
    ).fetchall()
    return rows


def delete(store: Store, doomed: Doomed, reason: Deletion, generation: int) -> int:
    """Deletes and counts in one transaction: by reason, and by table and reason; how many.

    The writer's. What was never pushed counts as `<reason>_unpushed`. Raises StoreError when the
    database was opened again since `generation`: the ids may be those of other rows.
    """
    if generation != store.generation:
        raise StoreError("the database was opened anew, its rows may be others: not deleted")
    table = _table(doomed.kind)
    where = f"id BETWEEN ? AND ?{f' AND {_FINISHED}' if doomed.only_finished else ''}"
    ids = (doomed.first, doomed.last)
    with store.counting() as changes:
        total, pushed, refused = store.database.execute_sql(
            f"SELECT count(*), count(pushed_at), count(push_error) FROM {table} WHERE {where}", ids
        ).fetchone()
        if not total:
            return 0
        store.database.execute_sql(f"DELETE FROM {table} WHERE {where}", ids)
        finished, unpushed = pushed + refused, total - pushed - refused
        changes.update(pushed=-pushed, refused=-refused, unpushed=-unpushed)
        for name, count in ((reason, finished), (f"{reason}_unpushed", unpushed)):
            if count:
                changes[f"deleted.{name}"] += count
                changes[f"deleted_by_table.{table}.{name}"] += count
    return int(total)


def trim_push_log(store: Store, keep: int) -> int:
    """Leaves the newest `keep` rows of the push log; how many went. The writer's."""
    with store.counting() as changes:
        cursor = store.database.execute_sql(
            "DELETE FROM push_log WHERE id <= (SELECT max(id) FROM push_log) - ?", (keep,)
        )
        if cursor.rowcount:
            changes["deleted_by_table.push_log.old"] += cursor.rowcount
    return int(cursor.rowcount)


def load_clock(store: Store) -> ClockState | None:
    """As last saved; None in a new database. Any thread."""
    with store.reading() as reader:
        row = reader.execute_sql(f"SELECT {_CLOCK_COLUMNS} FROM clock").fetchone()
    return None if row is None else ClockState(*row)


def save_clock(store: Store, state: ClockState) -> None:
    """The writer's."""
    with store.counting():
        store.database.execute_sql(
            f"INSERT OR REPLACE INTO clock (id, {_CLOCK_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?)", state
        )


def _eviction_rank(kind: type[Event]) -> int:
    name = kind.type_name
    return _EVICTION_ORDER.index(name) if name in _EVICTION_ORDER else -1


def _table(kind: type[Event]) -> str:
    return str(kind._meta.table_name)
