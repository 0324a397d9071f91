"""How long calls took: exact percentiles, of a million calls within seconds.

SQLite counts without holding the interpreter's lock, but every row it hands over does hold it for
a moment, which the agent's requests would feel. So of many rows only a few are read: a sample tells
between which values a percentile must lie, SQLite counts what lies below, and the values between
are read and sorted. Where the sample misled, all values are read.
"""

import math
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from tracer import handover
from tracer.errors import StoreError
from tracer.percentiles import Runs, rank
from tracer.statistics.groups import check, top
from tracer.statistics.series import OF_SERIES, Period, Series, all_series

LATENCY_BY: Final = ("model", "provider")

SAMPLED: Final = 32
"""One row of so many."""
LEAST_SAMPLE: Final = 200
"""Values that a sample must have; of fewer all are read."""
SIGMAS: Final = 3
"""How far a sample may be wrong, in standard deviations."""

PART_ROWS: Final = 512


class Bracket(NamedTuple):
    """Where the percentiles of one column lie: the median from `low` to `high`, the others from
    `tail` on.
    """

    low: float
    high: float
    tail: float


WHOLE: Final = Bracket(0.0, math.inf, 0.0)

_IN_BRACKET: Final = "{0} BETWEEN ? AND ? OR {0} >= ?"
_TIMES: Final = f"SELECT coalesce(latency_ms, -1), coalesce(ttft_ms, -1) {OF_SERIES}"
SAMPLE_QUERY: Final = f"{_TIMES} AND id % ? = 0"
COUNT_QUERY: Final = (
    "SELECT count(*), count(latency_ms), count(*) FILTER (WHERE latency_ms < ?), "
    f"count(ttft_ms), count(*) FILTER (WHERE ttft_ms < ?) {OF_SERIES}"
)
BRACKET_QUERY: Final = (
    f"{_TIMES} AND ({_IN_BRACKET.format('latency_ms')} OR {_IN_BRACKET.format('ttft_ms')})"
)

Percentiles = dict[str, float | None]


class _Times(NamedTuple):
    calls: int
    latency_ms: Percentiles
    ttft_ms: Percentiles


def latency(connection: sqlite3.Connection, by: str, period: Period) -> dict[str, Any]:
    """A percentile is the smallest measured value that so many percent do not exceed."""
    check(by, LATENCY_BY)
    groups: defaultdict[str, list[Series]] = defaultdict(list)
    for series in all_series(connection):
        groups[getattr(series, by)].append(series)
    found = [(key, _measure(connection, group, period)) for key, group in groups.items()]
    items = top(by, (item for item in found if item[1].calls), lambda item: item[1].calls)
    return {"items": [{by: key, **times._asdict()} for key, times in items]}


def _measure(connection: sqlite3.Connection, group: Sequence[Series], period: Period) -> _Times:
    brackets = [
        _bracket(runs) for runs in _read(connection, SAMPLE_QUERY, (SAMPLED,), group, period)
    ]
    connection.execute("BEGIN")  # all walks must see the same rows; closing would end it as well
    for tried in (brackets, [WHOLE, WHOLE]):
        times = _measure_within(connection, tried, group, period)
        if times is not None:
            connection.execute("COMMIT")
            return times
    raise StoreError("the calls cannot be counted: the database may be damaged")


def _bracket(sample: Runs) -> Bracket:
    """Around the percentiles of a random sample, so wide that those of all values lie within."""
    count = len(sample)
    if count < LEAST_SAMPLE:
        return WHOLE
    middle, tail = rank(50, count), rank(95, count)
    margin, tail_margin = (
        math.ceil(SIGMAS * math.sqrt(count * share * (1 - share))) for share in (0.5, 0.95)
    )
    return Bracket(
        sample.at_rank(middle - margin),
        sample.at_rank(middle + margin),
        sample.at_rank(tail - tail_margin),
    )


def _measure_within(
    connection: sqlite3.Connection,
    brackets: Sequence[Bracket],
    group: Sequence[Series],
    period: Period,
) -> _Times | None:
    """None when a percentile lies outside of its bracket."""
    lows = [bracket.low for bracket in brackets]
    rows = [connection.execute(COUNT_QUERY, (*lows, *one, *period)).fetchone() for one in group]
    calls, *counts = (sum(column) for column in zip(*rows, strict=True))
    parameters = tuple(chain.from_iterable(brackets))
    candidates = _read(connection, BRACKET_QUERY, parameters, group, period)
    latency_ms, ttft_ms = (
        _percentiles(runs, bracket, count, below)
        for runs, bracket, count, below in zip(
            candidates, brackets, counts[0::2], counts[1::2], strict=True
        )
    )
    return None if latency_ms is None or ttft_ms is None else _Times(calls, latency_ms, ttft_ms)


def _percentiles(runs: Runs, bracket: Bracket, count: int, below: int) -> Percentiles | None:
    """Those of `count` values, of which `below` are less than the bracket, by what was read: all
    within the bracket, and others that came with the row.
    """
    if not count:
        return dict.fromkeys(("p50", "p95", "p99", "max"))
    middle = rank(50, count) - below + runs.count_below(bracket.low)
    tails = [len(runs) - (count - rank(percent, count)) for percent in (95, 99)]
    if not runs.count_below(bracket.low) < middle <= runs.count_up_to(bracket.high):
        return None
    if tails[0] <= runs.count_below(bracket.tail):
        return None
    p50, p95, p99 = (runs.at_rank(place) for place in (middle, *tails))
    return {"p50": p50, "p95": p95, "p99": p99, "max": runs.largest}


def _read(
    connection: sqlite3.Connection,
    query: str,
    parameters: tuple[float, ...],
    group: Sequence[Series],
    period: Period,
) -> tuple[Runs, Runs]:
    """Both columns; what has no value is left out."""
    latency_ms, ttft_ms = array("d"), array("d")
    for series in group:
        # The conditions of a series come first in the text of a query.
        cursor = connection.execute(query, (*series, *period, *parameters))
        while rows := cursor.fetchmany(PART_ROWS):
            values = array("d", chain.from_iterable(rows))
            latency_ms.extend(values[0::2])
            ttft_ms.extend(values[1::2])
            handover.pause()
    return Runs(latency_ms), Runs(ttft_ms)
