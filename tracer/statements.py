"""SQL that runs often, made once from the models and shaped for speed in Python's sqlite3. Pure."""

import functools
import re
from collections.abc import Iterable, Iterator
from itertools import chain, compress
from typing import Any, Final

import peewee

from tracer.decoder import Record
from tracer.events import Event

CHUNK_SIZES: Final = (32, 8, 2, 1)
"""Rows per INSERT. Each execution gives up the interpreter's lock and has to get it back, so beside
a busy request thread 50 rows one by one took 340 ms, by these statements 26 ms.
"""

LARGE_ROW_BYTES: Final = 512 * 1024

LAST_ID: Final = 2**63 - 1

Shape = tuple[bool, ...]
"""Which of a kind's stored columns a row has."""

_DIALECT: Final = peewee.SqliteDatabase(None)


def inserts(records: Iterable[Record]) -> Iterator[tuple[str, list[Any]]]:
    """SQL and its values, one after the other. A row whose `trace_id` is known changes nothing.

    Binding a NULL costs as much as ten values, so rows are grouped by the columns they have.
    """
    groups: dict[tuple[type[Event], Shape], list[list[Any]]] = {}
    for kind, row, size_bytes in records:
        shape = tuple([value is not None for value in row])
        values = [value for value in row if value is not None]
        if size_bytes > LARGE_ROW_BYTES:
            sql = _insert(kind, shape, 1)
            yield sql, values
            yield sql, _rinse(values)
        else:
            groups.setdefault((kind, shape), []).append(values)
    for (kind, shape), rows in groups.items():
        for chunk in _chunks(rows):
            yield _insert(kind, shape, len(chunk)), list(chain(*chunk))


def _rinse(values: list[Any]) -> list[Any]:
    """Small values for the same row, to no effect: SQLite keeps what was bound last until the
    statement is used again, and that was megabytes.
    """
    return values[:1] + [value[:1] if isinstance(value, str) else value for value in values[1:]]


def unpushed(kind: type[Event]) -> str:
    """A SELECT whose parameters are the first and the last id wanted: id, `received_at` and the
    stored columns.
    """
    fields = [kind._meta.fields[name] for name in ("id", "received_at", *kind.stored_columns())]
    query = (
        kind.select(*fields)
        .where(kind.id.between(0, LAST_ID), kind.pushed_at.is_null(), kind.push_error.is_null())
        .order_by(kind.id)
    )
    return str(query.bind(_DIALECT).sql()[0])


def set_aside(kind: type[Event]) -> str:
    """An UPDATE whose parameters are the reason and the id of a row."""
    query = kind.update(push_error="").where(kind.id == 0)
    return str(query.bind(_DIALECT).sql()[0])


@functools.lru_cache(maxsize=256)
def _insert(kind: type[Event], shape: Shape, size: int) -> str:
    """An INSERT of `size` rows into the columns of `shape`: Peewee's for one row, widened."""
    columns = list(compress(kind.stored_columns(), shape))
    query = kind.insert_many(
        [(None,) * len(columns)], fields=[kind._meta.fields[name] for name in columns]
    ).on_conflict(conflict_target=[kind.trace_id], action="nothing")
    sql = str(query.bind(_DIALECT).sql()[0])
    values = re.search(r"(?<= VALUES )\([?, ]+\)", sql)
    assert values is not None
    return f"{sql[: values.start()]}{', '.join([values[0]] * size)}{sql[values.end() :]}"


def _chunks(rows: list[list[Any]]) -> Iterator[list[list[Any]]]:
    """Splits rows into pieces of the sizes there are statements for."""
    start = 0
    for size in CHUNK_SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
