"""Calls with model, provider, agent and operation in common, found without reading them all."""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tracer.errors import StoreError
from tracer.events.llm_trace import WRAPPERS

MAX_GROUPS: Final = 10_000
"""More models, providers or agents are not told apart. Sessions and days may be any number."""

IN_PERIOD: Final = "created_at >= ? AND created_at < ?"


class Period(NamedTuple):
    """From `since_ms` to before `until_ms`."""

    since_ms: int
    until_ms: int

    @classmethod
    def of(cls, since_ms: int | None, until_ms: int | None) -> "Period":
        """With None for an open end."""
        return cls(since_ms or 0, 2**62 if until_ms is None else until_ms)


class Series(NamedTuple):
    """What calls have in common: their rows lie together in the index `llm_traces_calls`."""

    model: str
    provider: str
    agent_id: str | None
    operation: str | None


OF_SERIES: Final = (
    "FROM llm_traces INDEXED BY llm_traces_calls WHERE "
    + " AND ".join(f"{column} IS ?" for column in Series._fields)
    + f" AND {IN_PERIOD}"
)


def next_query(depth: int, condition: str) -> str:
    """The next value of a column of `Series` where those before it are given."""
    column = Series._fields[depth]
    given = "".join(f"{before} IS ? AND " for before in Series._fields[:depth])
    return (
        f"SELECT {column} FROM llm_traces INDEXED BY llm_traces_calls "
        f"WHERE {given}{column} {condition} ORDER BY {column} LIMIT 1"
    )


def all_series(connection: sqlite3.Connection) -> Iterator[Series]:
    """Those of calls: spans around calls repeat what the calls inside them cost.

    Raises StoreError when there are more than `MAX_GROUPS`.
    """
    for number, values in enumerate(_leap(connection, ())):
        if number == MAX_GROUPS:
            raise StoreError(
                f"more than {MAX_GROUPS} combinations of model, provider, agent and operation"
            )
        series = Series._make(values)
        if series.operation not in WRAPPERS:
            yield series


def _leap(connection: sqlite3.Connection, given: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Goes from value to value in the index, where SQLite's own DISTINCT would read every row."""
    depth = len(given)
    if depth == len(Series._fields):
        yield given
        return
    found = connection.execute(next_query(depth, "IS NULL"), given).fetchone()
    if found is not None:
        yield from _leap(connection, given + found)
    found = connection.execute(next_query(depth, "IS NOT NULL"), given).fetchone()
    while found is not None:
        yield from _leap(connection, given + found)
        found = connection.execute(next_query(depth, "> ?"), given + found).fetchone()
