"""Sums, counts and percentiles over the stored events (contract section 5), read by SQL.

All walk along a covering index and keep at most `MAX_GROUPS` groups, so memory stays bounded.
"""

import heapq
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

from tracer import classify
from tracer.errors import ParameterError, StoreError
from tracer.events.llm_trace import WRAPPERS
from tracer.percentiles import RUN_LENGTH, percentiles

MAX_ITEMS: Final = 1000
"""Groups in an answer: the dearest, the most frequent, or the latest days. Totals hold all."""

MAX_GROUPS: Final = 10_000
"""More models, providers or agents are not told apart. Sessions and days may be any number."""

DAY_MS: Final = 86_400_000
LEAST_PROJECTED_MS: Final = 3_600_000
"""From less, a month cannot be told."""
MONTH_DAYS: Final = 30

_DAY: Final = f"created_at / {DAY_MS}"
_IN_PERIOD: Final = "created_at >= ? AND created_at < ?"

COST_BY: Final = ("model", "provider", "session", "day", "agent")
LATENCY_BY: Final = ("model", "provider")

ERRORS_BY: Final = {
    "category": ("category", "error_events_category", "status, error_type"),
    "error_type": ("error_type", "error_events_error_type", "'llm_error'"),
    "model": ("model", "error_events_model", "model"),
    "day": (_DAY, "error_events_created_at", _DAY),
}
"""Name → SQL and index for error events, and the SQL for failed calls."""

_STATUS_CATEGORIES: Final = {"rate_limited": "rate_limit", "timeout": "timeout"}

Groups = Iterator[tuple[Any, Any]]


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


_OF_SERIES: Final = (
    "FROM llm_traces INDEXED BY llm_traces_calls WHERE "
    + " AND ".join(f"{column} IS ?" for column in Series._fields)
    + f" AND {_IN_PERIOD}"
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


class _Costs(NamedTuple):
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float | None = None
    calls_without_cost: int = 0

    def plus(self, other: "_Costs") -> "_Costs":
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return _Costs(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            sum(costs) if costs else None,
            self.calls_without_cost + other.calls_without_cost,
        )

    def shown(self) -> dict[str, Any]:
        """Without the noise that adding up decimal fractions makes."""
        cost_usd = self.cost_usd
        return self._asdict() | {"cost_usd": None if cost_usd is None else round(cost_usd, 9)}


_SUMS: Final = (
    "count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
    "coalesce(sum(total_tokens), 0), sum(cost_usd), count(*) - count(cost_usd)"
)
_WRAPPERS: Final = ", ".join(f"'{name}'" for name in sorted(WRAPPERS))

COST_QUERY: Final = f"SELECT {_SUMS} {_OF_SERIES}"
FIRST_QUERY: Final = f"SELECT created_at {_OF_SERIES} ORDER BY created_at LIMIT 1"
SESSIONS_QUERY: Final = (
    f"SELECT session_id, {_SUMS} FROM llm_traces INDEXED BY llm_traces_session_id "
    f"WHERE {_IN_PERIOD} AND (operation = 'chat' OR operation IS NULL "
    f"OR operation NOT IN ({_WRAPPERS})) GROUP BY session_id"
)
EARLIEST_QUERY: Final = (
    "SELECT min(created_at) FROM llm_traces INDEXED BY llm_traces_created_at "
    "WHERE created_at >= ? AND created_at < ?"
)


def cost(connection: sqlite3.Connection, by: str, period: Period, now_ms: int) -> dict[str, Any]:
    """`cost_usd` is None where no call has a price. A month is projected from the first stored
    call in the period on.
    """
    _check(by, COST_BY)
    total = _Costs()

    def counted() -> Groups:
        nonlocal total
        for key, costs in _cost_groups(connection, by, period):
            total = total.plus(costs)
            yield key, costs

    items = _top(by, counted(), lambda group: (group[1].cost_usd or 0, group[1].calls))
    projected = None
    (first_ms,) = connection.execute(EARLIEST_QUERY, period).fetchone()
    if total.cost_usd is not None and first_ms is not None:
        length_ms = min(period.until_ms, now_ms) - first_ms
        if length_ms >= LEAST_PROJECTED_MS:
            projected = round(total.cost_usd * MONTH_DAYS * DAY_MS / length_ms, 2)
    return {
        "items": [{by: key, **costs.shown()} for key, costs in items],
        "total": total.shown() | {"projected_month_usd": projected},
    }


def _cost_groups(connection: sqlite3.Connection, by: str, period: Period) -> Groups:
    """Each key once."""
    if by == "session":
        for session_id, *sums in connection.execute(SESSIONS_QUERY, period):
            yield session_id, _Costs._make(sums)
        return
    groups: defaultdict[Any, _Costs] = defaultdict(_Costs)
    for series in all_series(connection):
        if by == "day":
            for day, part in _days(connection, series, period):
                groups[day] = groups[day].plus(_costs(connection, series, part))
        else:
            costs = _costs(connection, series, period)
            if costs.calls:
                key = getattr(series, "agent_id" if by == "agent" else by)
                groups[key] = groups[key].plus(costs)
    yield from groups.items()


def _costs(connection: sqlite3.Connection, series: Series, period: Period) -> _Costs:
    return _Costs._make(connection.execute(COST_QUERY, (*series, *period)).fetchone())


def _days(
    connection: sqlite3.Connection, series: Series, period: Period
) -> Iterator[tuple[int, Period]]:
    """The days (UTC, since the epoch) with calls, and their part of the period."""
    since_ms, until_ms = period
    while first := connection.execute(FIRST_QUERY, (*series, since_ms, until_ms)).fetchone():
        day = first[0] // DAY_MS
        end_ms = min((day + 1) * DAY_MS, until_ms)
        yield day, Period(first[0], end_ms)
        since_ms = end_ms


TIMES_QUERY: Final = f"SELECT coalesce(latency_ms, -1), coalesce(ttft_ms, -1) {_OF_SERIES}"


class _Times:
    """The times of one group: 16 bytes a call; -1 where there is none."""

    def __init__(self) -> None:
        self.latency_ms = array("d")
        self.ttft_ms = array("d")


def latency(connection: sqlite3.Connection, by: str, period: Period) -> dict[str, Any]:
    """A percentile is the smallest measured value that so many percent do not exceed.

    SQLite would sort all rows at once, or need four indexes that double the cost of an insert.
    """
    _check(by, LATENCY_BY)
    groups: defaultdict[str, _Times] = defaultdict(_Times)
    for series in all_series(connection):
        cursor = connection.execute(TIMES_QUERY, (*series, *period))
        while rows := cursor.fetchmany(RUN_LENGTH):
            values = array("d", chain.from_iterable(rows))
            times = groups[getattr(series, by)]
            times.latency_ms.extend(values[0::2])
            times.ttft_ms.extend(values[1::2])
    items = _top(by, groups.items(), lambda group: len(group[1].latency_ms))
    return {
        "items": [
            {
                by: key,
                "calls": len(times.latency_ms),
                "latency_ms": percentiles(times.latency_ms),
                "ttft_ms": percentiles(times.ttft_ms),
            }
            for key, times in items
        ]
    }


def errors_query(by: str) -> str:
    """Counts of error events; the parameters are the two ends of the period."""
    key, index, _ = ERRORS_BY[by]
    return (
        f"SELECT {key} AS key, count(*) FROM error_events INDEXED BY {index} "
        f"WHERE {_IN_PERIOD} GROUP BY key"
    )


def failed_query(by: str) -> str:
    """Counts of failed calls; the parameters are the same."""
    *_, key = ERRORS_BY[by]
    return (
        f"SELECT count(*), {key} FROM llm_traces INDEXED BY llm_traces_status "
        f"WHERE status <> 'success' AND {_IN_PERIOD} GROUP BY {key}"
    )


def errors(connection: sqlite3.Connection, by: str, period: Period) -> dict[str, Any]:
    """Error events and failed calls together. A failed call counts as an `llm_error`."""
    _check(by, ERRORS_BY)
    failed: Counter[Any] = Counter()
    for count, *key in connection.execute(failed_query(by), period):
        failed[_failed_category(*key) if by == "category" else key[0]] += count
    total = sum(failed.values())

    def groups() -> Groups:
        nonlocal total
        for key, count in connection.execute(errors_query(by), period):
            total += count
            yield key, count + failed.pop(key, 0)
        yield from failed.items()

    items = _top(by, groups(), lambda group: group[1])
    return {
        "items": [{by: key, "count": count} for key, count in items],
        "total": {"count": total},
    }


@lru_cache(maxsize=1024)
def _failed_category(status: str, error_type: str | None) -> str:
    known = _STATUS_CATEGORIES.get(status)
    return known or classify.category("llm_error", error_type or "")


def _check(by: str, choices: Iterable[str]) -> None:
    if by not in choices:
        raise ParameterError(f"by is one of {', '.join(choices)}")


def _top(
    by: str, groups: Iterable[tuple[Any, Any]], weight: Callable[[tuple[Any, Any]], Any]
) -> list[tuple[Any, Any]]:
    """The heaviest groups, heaviest first; of days the latest, in their order."""
    if by != "day":
        return heapq.nlargest(MAX_ITEMS, groups, key=weight)
    days = heapq.nlargest(MAX_ITEMS, groups, key=lambda group: group[0])
    epoch = date(1970, 1, 1)
    return [((epoch + timedelta(days=day)).isoformat(), rest) for day, rest in reversed(days)]
