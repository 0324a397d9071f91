import contextlib
import itertools
import os
import sqlite3
import threading
import time
from contextlib import closing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import wait_until
from tests.support.rows import insert
from tracer import reading
from tracer.errors import ParameterError, StoreError
from tracer.events import KINDS, CustomEvent, LlmTrace
from tracer.reading import Reader, list_queries
from tracer.statistics import Period
from tracer.store import Store


@pytest.fixture
def reader(store):
    return Reader(store.path)


def pages(reader, **parameters):
    cursor = None
    while True:
        page = reader.page(CustomEvent, cursor=cursor, **parameters)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=25),
    st.lists(st.integers(0, 6), max_size=10),
    st.integers(1, 7),
    st.sampled_from([{}, {"name": "a"}, {"name": "a", "session_id": "s"}]),
)
def test_paging_finds_each_row_exactly_once_also_while_rows_arrive(
    store, reader, before, meanwhile, limit, filters
):
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM custom_events")
    insert(
        store.path,
        "custom_events",
        [{"created_at": at, "name": name, "session_id": "s"} for at, name in before],
    )
    with closing(sqlite3.connect(store.path)) as connection:
        condition = " AND ".join(f"{name} = '{value}'" for name, value in filters.items()) or "1"
        expected = connection.execute(
            f"SELECT trace_id FROM custom_events WHERE {condition} ORDER BY created_at DESC, id DESC"
        ).fetchall()
    found, arriving = [], iter(meanwhile)
    for number, items in enumerate(pages(reader, limit=limit, filters=filters)):
        assert len(items) <= limit
        found += [item["trace_id"] for item in items]
        for at in itertools.islice(arriving, 2):
            late = {
                "created_at": at,
                "name": "a",
                "session_id": "s",
                "trace_id": f"late {number} {at}",
            }
            with contextlib.suppress(sqlite3.IntegrityError):  # the same once more
                insert(store.path, "custom_events", [late])
    assert len(found) == len(set(found))
    assert [trace_id for trace_id in found if not trace_id.startswith("late")] == [
        trace_id for (trace_id,) in expected
    ]


def test_bounds_hold_the_first_and_leave_out_the_second(store, reader):
    insert(store.path, "custom_events", [{"created_at": at} for at in (1, 2, 3)])
    page = reader.page(CustomEvent, since_ms=1, until_ms=3)
    assert [item["created_at"] for item in page.items] == [2, 1]


def test_an_item_has_all_columns_and_metadata_as_an_object(store, reader):
    insert(store.path, "llm_traces", [{"metadata": '{"a":[1]}'}, {"metadata": "{broken"}, {}])
    without, broken, item = reader.page(LlmTrace).items
    assert item["metadata"] == {"a": [1]}
    assert broken["metadata"] == "{broken"
    assert without["metadata"] is None
    assert set(item) == set(LlmTrace.listed_columns())
    raw = reader.page(LlmTrace, raw_metadata=True)
    assert msgspec.json.decode(msgspec.json.encode(raw.items))[2] == item
    assert msgspec.json.decode(msgspec.json.encode(raw.items))[1] == broken


def test_a_page_holds_so_many_bytes_at_most_and_goes_on_after_them(store, reader, monkeypatch):
    monkeypatch.setattr(reading, "PAGE_BYTES", 1000)
    sizes = [10, 400, 400, 400, 5000, 10]
    insert(store.path, "custom_events", [{"session_id": "x" * size} for size in sizes])
    found = [[len(item["session_id"]) for item in items] for items in pages(reader)]
    assert found == [[10], [5000], [400, 400], [400, 10]]


@pytest.mark.parametrize(
    "cursor", ["", "1", "1-", "-1-2", "1-2-3", "١-٢", "1-" + "9" * 19, "x" * 99]
)
def test_a_wrong_cursor_is_refused(reader, cursor):
    with pytest.raises(ParameterError, match="cursor"):
        reader.page(CustomEvent, cursor=cursor)


def test_a_limit_out_of_range_and_an_unknown_filter_are_refused(reader):
    for limit in (0, -1, 1001):
        with pytest.raises(ParameterError, match="limit"):
            reader.page(CustomEvent, limit=limit)
    with pytest.raises(ParameterError, match="session_id, name, severity"):
        reader.page(CustomEvent, filters={"duration_ms": "1"})


def plan(store, sql, values):
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [None, (5, 5)])
def test_each_page_is_a_walk_along_an_index_without_sorting(store, kind, last):
    asked = [{}, *({name: "x"} for name in kind.filters), dict.fromkeys(kind.filters, "x")]
    if kind is LlmTrace:
        asked.append({"status": "success"})
    for filters in asked:
        queries = list(list_queries(kind, filters, Period(1, 9), last))
        assert len(queries) == (1 if last is None else 2)
        for sql, values in queries:
            (step,) = plan(store, sql, [*values, 10])
            assert step.startswith(f"SEARCH {kind._meta.table_name} USING INDEX"), step
            leading = next((name for name in kind.filters if name in filters), "status")
            if leading != "status":
                assert f"({leading}=? AND created_at" in step
        assert "created_at>? AND created_at<?" in step
        if last is not None:
            (step,) = plan(store, queries[0][0], [*queries[0][1], 10])
            assert "created_at=? AND " in step
            assert "id<?" in step


def test_a_page_deep_in_rows_of_one_time_is_found_without_reading_those_before(store, reader):
    """The steps of SQLite's machine do not grow with the depth."""
    insert(store.path, "custom_events", [{} for _ in range(5000)])
    for filters in ({}, {"name": "n"}):
        steps = []
        for last in ((1000, 5000), (1000, 100)):
            sql, values = next(list_queries(CustomEvent, filters, Period(0, 2000), last))
            with closing(sqlite3.connect(store.path)) as connection:
                count = itertools.count()
                connection.set_progress_handler(lambda count=count: next(count) < 0, 1)
                assert len(connection.execute(sql, [*values, 10]).fetchall()) == 10
            steps.append(next(count))
        assert steps[1] < 2 * steps[0]


def test_a_query_that_takes_too_long_is_ended_and_says_so(store):
    insert(store.path, "llm_traces", [{} for _ in range(5000)])
    hasty = Reader(store.path, deadline_s=0)
    with pytest.raises(StoreError, match="narrow since and until"):
        hasty.cost("model")
    with pytest.raises(StoreError, match="narrow since and until"):
        hasty.page(LlmTrace, limit=1000)


def test_no_file_no_database_and_a_foreign_one_are_told_in_words(tmp_path):
    with pytest.raises(StoreError):
        Reader(tmp_path / "none.db").page(CustomEvent)
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("no database" * 500)
    with pytest.raises(StoreError, match="damaged"):
        Reader(tmp_path / "text.db").cost("model")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(StoreError):
        Reader(tmp_path / "empty.db").errors("day")


def test_nothing_stays_open_and_the_log_can_be_truncated(store, reader):
    insert(store.path, "custom_events", [{} for _ in range(50)])
    reader.cost("day")  # SQLite keeps one for the next, while the writer holds locks
    files = len(os.listdir("/proc/self/fd"))
    reader.page(CustomEvent, limit=3)
    reader.cost("day")
    with pytest.raises(ParameterError):
        reader.latency("nothing")
    assert len(os.listdir("/proc/self/fd")) == files
    busy, *_ = store._database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0


def test_few_are_at_work_at_once_and_more_are_sent_away(store, reader, monkeypatch):
    monkeypatch.setattr(reading, "WAIT_S", 0.2)
    started, go_on, refused = [], threading.Event(), []

    def hold(*_):
        started.append(1)
        assert go_on.wait(10)
        return {}

    monkeypatch.setattr("tracer.statistics.cost", hold)

    def ask():
        try:
            reader.cost("model")
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(reading.AT_ONCE * 2 + 3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) == len(threads) - reading.AT_ONCE)
    assert len(started) == reading.AT_ONCE
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert set(refused) == {"too many queries at once, try again"}
    reader.page(CustomEvent)


def test_reading_goes_on_while_another_writes(store, reader):
    ends_at, failures = time.monotonic() + 0.5, []

    def write():
        number = itertools.count()
        while time.monotonic() < ends_at:
            insert(
                store.path, "custom_events", [{"trace_id": f"w{next(number)}"} for _ in range(9)]
            )

    thread = threading.Thread(target=write)
    thread.start()
    while time.monotonic() < ends_at:
        seen = len(reader.page(CustomEvent, limit=1000).items)
        failures += [seen] if seen % 9 and seen != 1000 else []
    thread.join()
    assert not failures


def test_a_file_moved_aside_is_not_read_further(store, reader, tmp_path):
    insert(store.path, "custom_events", [{}])
    assert len(reader.page(CustomEvent).items) == 1
    store.close()
    os.rename(store.path, tmp_path / "aside")
    newer = Store(store.path, synchronous="full")
    newer.open()
    try:
        assert reader.page(CustomEvent).items == []
    finally:
        newer.close()
