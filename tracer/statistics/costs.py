"""What calls cost, by model, provider, session, day or agent."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tracer.events.llm_trace import WRAPPERS
from tracer.statistics.groups import DAY_MS, Groups, check, top
from tracer.statistics.series import IN_PERIOD, OF_SERIES, Period, Series, all_series

COST_BY: Final = ("model", "provider", "session", "day", "agent")
LEAST_PROJECTED_MS: Final = 3_600_000
"""From less, a month cannot be told."""
MONTH_DAYS: Final = 30


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

COST_QUERY: Final = f"SELECT {_SUMS} {OF_SERIES}"
FIRST_QUERY: Final = f"SELECT created_at {OF_SERIES} ORDER BY created_at LIMIT 1"
SESSIONS_QUERY: Final = (
    f"SELECT session_id, {_SUMS} FROM llm_traces INDEXED BY llm_traces_session_id "
    f"WHERE {IN_PERIOD} AND (operation = 'chat' OR operation IS NULL "
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
    check(by, COST_BY)
    total = _Costs()

    def counted() -> Groups:
        nonlocal total
        for key, costs in _cost_groups(connection, by, period):
            total = total.plus(costs)
            yield key, costs

    items = top(by, counted(), lambda group: (group[1].cost_usd or 0, group[1].calls))
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
