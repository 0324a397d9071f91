import random
import sqlite3
from array import array
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rows import insert
from tracer import classify, percentiles
from tracer.errors import ParameterError, StoreError
from tracer.percentiles import Runs
from tracer.reading import Reader
from tracer.statistics import (
    COST_BY,
    DAY_MS,
    ERRORS_BY,
    LATENCY_BY,
    costs,
    failures,
    groups,
    latencies,
    series,
)
from tracer.timestamps import now_ms

NAMES = st.sampled_from(["a", "b", ""])
CALLS = st.fixed_dictionaries(
    {
        "created_at": st.integers(0, 5 * DAY_MS),
        "model": NAMES,
        "provider": NAMES,
        "agent_id": st.none() | NAMES,
        "session_id": st.none() | NAMES,
        "operation": st.sampled_from(["chat", "chat", None, "embeddings", "invoke_agent"]),
        "status": st.sampled_from(["success", "success", "error", "timeout", "rate_limited"]),
        "error_type": st.sampled_from([None, "RateLimitError", "ECONNRESET", "odd"]),
        "prompt_tokens": st.none() | st.integers(0, 10**12),
        "completion_tokens": st.none() | st.integers(0, 9),
        "total_tokens": st.none() | st.integers(0, 9),
        "cost_usd": st.none() | st.integers(0, 1000).map(lambda n: n / 64),
        "latency_ms": st.none() | st.integers(0, 50) | st.floats(0, 1e12),
        "ttft_ms": st.none() | st.integers(0, 3),
    }
)
ERRORS = st.fixed_dictionaries(
    {
        "created_at": st.integers(0, 5 * DAY_MS),
        "category": st.sampled_from(["rate_limit", "timeout", "own"]),
        "error_type": st.sampled_from(["llm_error", "crash"]),
        "model": st.none() | NAMES,
    }
)
PERIODS = st.sampled_from([(None, None), (DAY_MS, None), (DAY_MS // 2, 3 * DAY_MS + 7), (9, 9)])
MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def reader(store):
    return Reader(store.path)


def fill(store, calls, errors=()):
    with closing(sqlite3.connect(store.path)) as connection, connection:
        for table in ("llm_traces", "error_events"):
            connection.execute(f"DELETE FROM {table}")
    insert(store.path, "llm_traces", calls)
    insert(store.path, "error_events", errors)


def within(rows, period):
    since, until = period
    return [
        row
        for row in rows
        if row["created_at"] >= (since or 0) and (until is None or row["created_at"] < until)
    ]


def day(row):
    return datetime.fromtimestamp(row["created_at"] / 1000, UTC).date().isoformat()


def key_of(row, by):
    column = {"session": "session_id", "agent": "agent_id"}.get(by, by)
    return day(row) if by == "day" else row[column]


def grouped(rows, by):
    groups = defaultdict(list)
    for row in rows:
        groups[key_of(row, by)].append(row)
    return groups


def summed(rows):
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {
        "calls": len(rows),
        **{name: sum(row[name] or 0 for row in rows) for name in tokens},
        "cost_usd": sum(costs) if costs else None,
        "calls_without_cost": len(rows) - len(costs),
    }


@MANY
@given(st.lists(CALLS, max_size=20), PERIODS)
def test_cost_is_what_adding_up_by_hand_gives(store, reader, calls, period):
    fill(store, calls)
    counted = [row for row in within(calls, period) if row["operation"] != "invoke_agent"]
    for by in COST_BY:
        answer = reader.cost(by, *period)
        expected = {key: summed(rows) for key, rows in grouped(counted, by).items()}
        assert {item.pop(by): item for item in answer["items"]} == expected
        answer["total"].pop("projected_month_usd")
        assert answer["total"] == summed(counted)


def naive(values):
    """By the definition of the nearest rank: so many percent are not larger."""
    values = sorted(value for value in values if value is not None)
    if not values:
        return dict.fromkeys(("p50", "p95", "p99", "max"))
    found = {
        f"p{share}": next(
            value for place, value in enumerate(values, 1) if place * 100 >= share * len(values)
        )
        for share in (50, 95, 99)
    }
    return found | {"max": values[-1]}


@MANY
@given(st.lists(CALLS, max_size=30), PERIODS)
def test_percentiles_are_exact(store, reader, calls, period):
    fill(store, calls)
    counted = [row for row in within(calls, period) if row["operation"] != "invoke_agent"]
    for by in LATENCY_BY:
        items = reader.latency(by, *period)["items"]
        assert {item.pop(by): item for item in items} == {
            key: {
                "calls": len(rows),
                "latency_ms": naive(row["latency_ms"] for row in rows),
                "ttft_ms": naive(row["ttft_ms"] for row in rows),
            }
            for key, rows in grouped(counted, by).items()
        }


@MANY
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 99), st.integers(0, 9)), max_size=90),
    st.integers(1, 9),
    st.sampled_from([0, 0.2, 1]),
)
def test_percentiles_are_exact_however_a_sample_misleads(store, reader, times, sampled, sigmas):
    fill(store, [{"latency_ms": a, "ttft_ms": b, "model": "m"} for a, b in times])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latencies, "SAMPLED", sampled)
        patch.setattr(latencies, "LEAST_SAMPLE", 5)
        patch.setattr(latencies, "SIGMAS", sigmas)
        items = reader.latency("model")["items"]
    for item in items:
        assert item["latency_ms"] == naive(a for a, _ in times)
        assert item["ttft_ms"] == naive(b for _, b in times)


@pytest.mark.parametrize(
    ("sampled_ms", "step"), [(None, 8), (1.0, 8), (3000.0, 8), (1e9, 8), (1e9, 96)]
)
def test_of_many_calls_few_are_read(store, reader, monkeypatch, sampled_ms, step):
    chance = random.Random(7)
    rows = [
        {"latency_ms": chance.lognormvariate(7, 1), "ttft_ms": n % 90, "model": "m"}
        for n in range(6000)
    ]
    if sampled_ms:  # the sample misleads
        rows[7::step] = [row | {"latency_ms": sampled_ms} for row in rows[7::step]]
    fill(store, rows)
    monkeypatch.setattr(latencies, "SAMPLED", 8)
    read = []
    real = latencies.Runs
    monkeypatch.setattr(latencies, "Runs", lambda values: read.append(len(values)) or real(values))
    (item,) = reader.latency("model")["items"]
    assert item["latency_ms"] == naive(row["latency_ms"] for row in rows)
    assert item["ttft_ms"] == naive(row["ttft_ms"] for row in rows)
    assert sampled_ms or max(read) < 2500


@given(
    st.lists(st.floats(0, 1e12) | st.integers(0, 3).map(float) | st.just(-1.0), max_size=50),
    st.integers(1, 7),
)
def test_ranks_in_many_runs_are_those_in_one(values, length):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percentiles, "RUN_LENGTH", length)
        runs = Runs(array("d", values))
    ordered = sorted(value for value in values if value >= 0)
    assert [runs.at_rank(place) for place in range(1, len(ordered) + 1)] == ordered
    assert len(runs) == len(ordered)
    for value in ordered:
        assert runs.count_below(value) == sum(other < value for other in ordered)
        assert runs.count_up_to(value) == sum(other <= value for other in ordered)


@MANY
@given(st.lists(CALLS, max_size=15), st.lists(ERRORS, max_size=15), PERIODS)
def test_errors_count_error_events_and_failed_calls(store, reader, calls, errors, period):
    fill(store, calls, errors)
    told = {"rate_limited": "rate_limit", "timeout": "timeout"}
    failed = [
        row
        | {
            "category": told.get(row["status"])
            or classify.category("llm_error", row["error_type"] or ""),
            "error_type": "llm_error",
        }
        for row in calls
        if row["status"] != "success"
    ]
    counted = within(failed + errors, period)
    for by in ERRORS_BY:
        answer = reader.errors(by, *period)
        expected = {key: len(rows) for key, rows in grouped(counted, by).items()}
        assert {item[by]: item["count"] for item in answer["items"]} == expected
        assert answer["total"] == {"count": len(counted)}


def test_the_heaviest_come_first_and_days_in_their_order(store, reader, monkeypatch):
    monkeypatch.setattr(groups, "MAX_ITEMS", 2)
    rows = [
        {"model": name, "session_id": name, "cost_usd": cost, "created_at": place * DAY_MS}
        for place, (name, cost) in enumerate([("a", 1), ("b", None), ("c", 3), ("d", 2)])
    ]
    fill(store, rows)
    for by in ("model", "session"):
        answer = reader.cost(by)
        assert [item[by] for item in answer["items"]] == ["c", "d"]
        assert answer["total"]["cost_usd"] == 6
    assert [item["day"] for item in reader.cost("day")["items"]] == ["1970-01-03", "1970-01-04"]


def test_a_month_is_projected_from_the_first_call_in_the_period(store, reader):
    now = now_ms()
    fill(store, [{"created_at": now - n * DAY_MS, "cost_usd": 1.5} for n in (1, 2, 10)])
    assert reader.cost("model")["total"]["projected_month_usd"] == pytest.approx(13.5, abs=0.01)
    since = now - 7 * DAY_MS
    assert reader.cost("day", since)["total"]["projected_month_usd"] == pytest.approx(45, abs=0.01)
    assert reader.cost("day", now - DAY_MS - 9)["total"]["cost_usd"] == 1.5
    fill(store, [{"created_at": now - 60_000, "cost_usd": 1}])
    assert reader.cost("model")["total"]["projected_month_usd"] is None


def test_too_many_groups_are_refused_not_held(store, reader, monkeypatch):
    monkeypatch.setattr(series, "MAX_GROUPS", 5)
    fill(store, [{"model": f"m{n}", "session_id": f"s{n}"} for n in range(6)])
    for ask in (reader.latency, reader.cost):
        with pytest.raises(StoreError, match="more than 5"):
            ask("provider")
    assert len(reader.cost("session")["items"]) == 6


def test_by_must_be_one_of_those_there_are(reader):
    for ask in (reader.cost, reader.latency, reader.errors):
        with pytest.raises(ParameterError, match="by is one of"):
            ask("shoe_size")


def queries():
    period, one = (1, 9), ("m", "p", None, "chat")
    yield (
        "llm_traces_calls (model=? AND provider=? AND agent_id=? AND operation=? AND created_at>?",
        costs.COST_QUERY,
        (*one, *period),
    )
    yield (
        "llm_traces_calls (model=? AND provider=? AND agent_id=? AND operation=? AND created_at>?",
        latencies.SAMPLE_QUERY,
        (*one, *period, 64),
    )
    yield (
        "llm_traces_calls (model=? AND provider=? AND agent_id=? AND operation=? AND created_at>?",
        latencies.COUNT_QUERY,
        (5, 5, *one, *period),
    )
    yield (
        "llm_traces_calls (model=? AND provider=? AND agent_id=? AND operation=? AND created_at>?",
        latencies.BRACKET_QUERY,
        (*one, *period, *range(6)),
    )
    yield (
        "llm_traces_calls (model=? AND provider=? AND agent_id=? AND operation=? AND created_at>?",
        costs.FIRST_QUERY,
        (*one, *period),
    )
    yield (
        "SCAN llm_traces USING COVERING INDEX llm_traces_session_id",
        costs.SESSIONS_QUERY,
        period,
    )
    yield "llm_traces_created_at (created_at>?", costs.EARLIEST_QUERY, period
    for depth, column in enumerate(series.Series._fields):
        leap = series.next_query(depth, "> ?")
        yield f"{column}>?)", leap, (*one[:depth], "x")
    for by in ERRORS_BY:
        index = "created_at" if by == "day" else by
        yield f"COVERING INDEX error_events_{index}", failures.errors_query(by), period
        yield "COVERING INDEX llm_traces_status (created_at>?", failures.failed_query(by), period


def test_no_statistics_read_the_table(store):
    """All walk along a covering index; only small groups are sorted."""
    with closing(sqlite3.connect(store.path)) as connection:
        for expected, sql, values in queries():
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert expected in steps[0], (steps, sql)
            assert "COVERING INDEX" in steps[0], steps
            if "FROM llm_traces INDEXED BY llm_traces_calls" in sql:
                assert len(steps) == 1, steps
