import json
import sqlite3
from contextlib import closing

import peewee
import pytest

from tracer.errors import StoreError
from tracer.events import KINDS, CustomEvent, LlmTrace
from tracer.outbox import all_of, unreported
from tracer.rows import Intent, PushAttempt

ATTEMPT = PushAttempt("batch-1", 5000, "success", 200, 0, 10, 1, 1, None)


def intent(first, last, **changes):
    return Intent("batch-1", 4000, 1, {LlmTrace: (first, last)}, {})._replace(**changes)


def calls(decoders, count, received_at=1000):
    text = json.dumps({"provider": "p", "model": "m"}).encode()
    return [decoders[LlmTrace].decode(text, received_at + n) for n in range(count)]


def query(store, sql):
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def left(store):
    return [row.id for row in store.outbox.rows(all_of(KINDS))]


def assert_counted(store):
    """The persistent counters say what the tables hold."""
    kept = dict.fromkeys(("pushed", "unpushed", "refused"), 0)
    for kind in KINDS:
        pushed, refused, total = query(
            store,
            "SELECT count(pushed_at), count(push_error), count(*) FROM " + kind._meta.table_name,
        )[0]
        for name, count in zip(kept, (pushed, total - pushed - refused, refused), strict=True):
            kept[name] += count
    assert {name: store.row_counts.get(name, 0) for name in kept} == kept


def test_unpushed_rows_come_oldest_first_over_all_kinds(store, decoders):
    custom = decoders[CustomEvent]
    store.insert(calls(decoders, 2, 1000))
    store.insert([custom.decode(b'{"name":"n"}', 1001)])
    store.insert(calls(decoders, 1, 1002))
    rows = list(store.outbox.rows(all_of(KINDS)))
    assert [(row.kind, row.id) for row in rows] == [
        (LlmTrace, 1),
        (LlmTrace, 2),
        (CustomEvent, 1),
        (LlmTrace, 3),
    ]
    assert [row.received_at for row in rows] == [1000, 1001, 1001, 1002]


def test_rows_of_an_earlier_batch_can_be_read_again_without_others(store, decoders):
    store.insert(calls(decoders, 4))
    store.insert([decoders[CustomEvent].decode(b'{"name":"n"}', 1000)])
    assert [row.id for row in store.outbox.rows({LlmTrace: (2, 3)})] == [2, 3]


def test_the_newest_row_of_each_kind_is_a_batch_of_its_own(store, decoders):
    assert store.outbox.newest() == []
    store.insert([*calls(decoders, 3), decoders[CustomEvent].decode(b'{"name":"n"}', 1)])
    store.outbox.begin(intent(3, 3))
    store.outbox.confirm(intent(3, 3), ATTEMPT, {})
    assert store.outbox.newest() == [{LlmTrace: (2, 2)}, {CustomEvent: (1, 1)}]


def test_a_half_read_pass_leaves_no_reader_behind(store, decoders):
    """A reader would pin the write-ahead log and let it grow without bound."""
    store.insert(calls(decoders, 50))
    with closing(store.outbox.rows(all_of(KINDS))) as rows:
        next(rows)
    busy, _, _ = store._database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert store._reader.is_closed()


def test_the_unpushed_are_found_by_their_index(store):
    for kind in KINDS:
        sql = "EXPLAIN QUERY PLAN " + store.outbox._unpushed_sql[kind]
        steps = [row[3] for row in store._database.execute_sql(sql, (1, 9)).fetchall()]
        name = kind._meta.table_name
        assert steps == [f"SEARCH t1 USING INDEX {name}_unpushed (id>? AND id<?)"]


def test_confirming_a_batch_with_its_log_row_and_intent_is_one_transaction(store, decoders):
    store.insert(calls(decoders, 5))
    store.outbox.begin(intent(1, 3))
    assert store.outbox.confirm(intent(1, 3), ATTEMPT, {}) == 0
    assert left(store) == [4, 5]
    assert query(store, "SELECT batch_id, status, events_pushed FROM push_log") == [
        ("batch-1", "success", 3)
    ]
    assert store.outbox.intent() is None
    # Marked rows are not marked again: the counters stay right.
    store.outbox.begin(intent(1, 4))
    store.outbox.confirm(intent(1, 4), ATTEMPT, {})
    assert left(store) == [5]
    assert_counted(store)
    store.outbox.begin(intent(5, 5))
    with pytest.raises(peewee.IntegrityError):
        store.outbox.confirm(intent(5, 5), ATTEMPT._replace(status=None), {})
    assert left(store) == [5]
    assert store.outbox.intent() == intent(5, 5)
    assert_counted(store)


def test_rejected_rows_are_set_aside_with_the_reason_and_only_in_their_batch(store, decoders):
    store.insert(calls(decoders, 4))
    rows = list(store.outbox.rows(all_of(KINDS)))
    rejected = {row.values[0]: "rejected: too old" for row in (rows[1], rows[3])}
    store.outbox.begin(intent(1, 3))
    assert store.outbox.confirm(intent(1, 3), ATTEMPT, {**rejected, "unknown": "x"}) == 1
    assert query(store, "SELECT id, pushed_at, push_error FROM llm_traces") == [
        (1, 5000, None),
        (2, None, "rejected: too old"),
        (3, 5000, None),
        (4, None, None),
    ]
    assert query(store, "SELECT events_pushed FROM push_log") == [(2,)]
    assert_counted(store)


def test_an_answer_that_names_thousands_costs_few_statements(store, decoders):
    """Each would hold up the writer, and so whoever waits for a commit."""
    store.insert(calls(decoders, 50))
    ids = [row.values[0] for row in store.outbox.rows(all_of(KINDS))]
    rejected = {f"no-id-{n}": "r" for n in range(2500)} | dict.fromkeys(ids[::2], "rejected: x")
    begun = Intent("batch-1", 4000, 1, dict.fromkeys(KINDS, (1, 50)), {})
    store.outbox.begin(begun)
    executed = []
    connection = store._database.connection()
    connection.set_trace_callback(executed.append)
    assert store.outbox.confirm(begun, ATTEMPT, rejected) == 25
    connection.set_trace_callback(None)
    assert len(executed) < 100
    refused = query(store, "SELECT id FROM llm_traces WHERE push_error = 'rejected: x'")
    assert [row_id for (row_id,) in refused] == list(range(1, 51, 2))
    assert_counted(store)


def test_refused_rows_are_counted_and_never_read_again(store, decoders):
    store.insert(calls(decoders, 3))
    assert store.outbox.refuse([({LlmTrace: (2, 2)}, "x" * 9999)]) == 1
    assert left(store) == [1, 3]
    assert query(store, "SELECT length(push_error) FROM llm_traces WHERE id = 2") == [(500,)]
    assert store.row_counts["refused"] == 1
    assert_counted(store)


def test_an_intent_survives_a_restart_and_counts_its_tries(store, decoders):
    store.insert(calls(decoders, 3))
    assert store.outbox.intent() is None
    begun = intent(1, 2, dropped={"shutdown": 2})
    store.outbox.begin(intent(1, 3))
    store.outbox.begin(begun)
    store.close()
    store.open()
    assert store.outbox.intent() == begun
    store.outbox.keep(ATTEMPT._replace(status="failed", attempt=1))
    assert store.outbox.intent() == begun._replace(attempt=2)
    store.outbox.give_back(ATTEMPT._replace(status="refused", attempt=2))
    assert store.outbox.intent() is None
    assert query(store, "SELECT status, attempt FROM push_log") == [("failed", 1), ("refused", 2)]


def test_a_batch_of_another_database_is_not_marked(store, decoders):
    """After a quarantine the same ids are other rows, which no remote has seen."""
    store.insert(calls(decoders, 3))
    store.outbox.begin(intent(1, 3))
    store.close()
    store.path.unlink()
    store.open()
    store.insert(calls(decoders, 3))
    store.outbox.begin(intent(1, 3, batch_id="batch-of-these"))
    with pytest.raises(StoreError, match="opened anew"):
        store.outbox.confirm(intent(1, 3), ATTEMPT, {})
    assert left(store) == [1, 2, 3]


def test_losses_are_told_once_whatever_happens(store, decoders):
    store.insert(calls(decoders, 1))
    store.count_lost("shutdown", 2)
    store.close()
    store.open()
    assert unreported(store.row_counts) == {"shutdown": 2}
    begun = intent(1, 1, dropped={"shutdown": 2})
    store.outbox.begin(begun)
    store.count_lost("shutdown", 1)
    store.outbox.confirm(begun, ATTEMPT, {})
    assert unreported(store.row_counts) == {"shutdown": 1}
    assert unreported(dict(query(store, "SELECT name, value FROM row_counts"))) == {"shutdown": 1}


def test_rows_deleted_before_a_remote_had_them_are_losses():
    counts = {
        "stored": 9,
        "deleted.age": 3,
        "deleted.volume_unpushed": 4,
        "reported.volume_unpushed": 1,
    }
    assert unreported(counts) == {"volume_unpushed": 3}
