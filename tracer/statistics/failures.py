"""How often what went wrong: error events and failed calls together."""

import sqlite3
from collections import Counter
from functools import lru_cache
from typing import Any, Final

from tracer import classify
from tracer.statistics.groups import DAY, Groups, check, top
from tracer.statistics.series import IN_PERIOD, Period

ERRORS_BY: Final = {
    "category": ("category", "error_events_category", "status, error_type"),
    "error_type": ("error_type", "error_events_error_type", "'llm_error'"),
    "model": ("model", "error_events_model", "model"),
    "day": (DAY, "error_events_created_at", DAY),
}
"""Name → SQL and index for error events, and the SQL for failed calls."""

_STATUS_CATEGORIES: Final = {"rate_limited": "rate_limit", "timeout": "timeout"}


def errors_query(by: str) -> str:
    """Counts of error events; the parameters are the two ends of the period."""
    key, index, _ = ERRORS_BY[by]
    return (
        f"SELECT {key} AS key, count(*) FROM error_events INDEXED BY {index} "
        f"WHERE {IN_PERIOD} GROUP BY key"
    )


def failed_query(by: str) -> str:
    """Counts of failed calls; the parameters are the same."""
    *_, key = ERRORS_BY[by]
    return (
        f"SELECT count(*), {key} FROM llm_traces INDEXED BY llm_traces_status "
        f"WHERE status <> 'success' AND {IN_PERIOD} GROUP BY {key}"
    )


def errors(connection: sqlite3.Connection, by: str, period: Period) -> dict[str, Any]:
    """Error events and failed calls together. A failed call counts as an `llm_error`."""
    check(by, ERRORS_BY)
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

    items = top(by, groups(), lambda group: group[1])
    return {
        "items": [{by: key, "count": count} for key, count in items],
        "total": {"count": total},
    }


@lru_cache(maxsize=1024)
def _failed_category(status: str, error_type: str | None) -> str:
    known = _STATUS_CATEGORIES.get(status)
    return known or classify.category("llm_error", error_type or "")
