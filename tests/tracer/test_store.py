import json
import os
import sqlite3
import stat
import threading
from contextlib import closing

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.events import KIND_AND_PAYLOAD
from tests.support.rows import assert_counted, query
from tracer.encoders.native import encode_batch
from tracer.errors import EventError, StoreError, StoreLocked
from tracer.events import KINDS, LlmTrace
from tracer.opening import PRAGMAS
from tracer.outbox import all_of
from tracer.store import Store


def calls(decoders, count, received_at=1000, **fields):
    text = json.dumps({"provider": "p", "model": "m", **fields}).encode()
    return [decoders[LlmTrace].decode(text, received_at + n) for n in range(count)]


def test_a_new_file_is_private_and_has_the_pragmas(store):
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert store.notices == []
    for name, wanted in PRAGMAS.items():
        (found,) = store._database.execute_sql(f"PRAGMA {name}").fetchone()
        assert found == wanted, name
    assert store._database.execute_sql("PRAGMA synchronous").fetchone() == (2,)
    assert store._database.execute_sql("PRAGMA busy_timeout").fetchone() == (10000,)


def test_the_same_trace_id_is_stored_once(store, decoders):
    records = calls(decoders, 3)
    assert store.insert(records).stored == 3
    assert store.insert([*records, *calls(decoders, 1)]).stored == 1
    assert query(store, "SELECT count(*) FROM llm_traces") == [(4,)]
    assert_counted(store)


def test_one_bad_row_costs_only_itself(store, decoders):
    good = calls(decoders, 4)
    place = LlmTrace.stored_columns().index("model")
    row = list(good[1].row)
    row[place] = None  # NOT NULL
    text = list(good[2].row)
    text[place] = "\ud800"
    batch = [good[0], good[1]._replace(row=tuple(row)), good[2]._replace(row=tuple(text)), good[3]]
    inserted = store.insert(batch)
    assert inserted.stored == 2
    assert set(inserted.lost) == {1, 2}
    assert "NOT NULL" in inserted.lost[1]
    assert_counted(store)


def test_a_full_disk_amid_a_rescue_stores_nothing_of_the_batch(store, decoders):
    """Else a second try would count as duplicates what the first had stored."""
    row = list(calls(decoders, 1)[0].row)
    row[LlmTrace.stored_columns().index("model")] = None
    small, bad = calls(decoders, 2), calls(decoders, 1)[0]._replace(row=tuple(row))
    large = calls(decoders, 1, input_text="x" * 9000, output_text="x" * 9000)
    (pages,) = store._database.execute_sql("PRAGMA page_count").fetchone()
    store._database.execute_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises((sqlite3.OperationalError, peewee.OperationalError)):
        store.insert([*small, bad, *large])
    assert query(store, "SELECT count(*) FROM llm_traces") == [(0,)]
    store._database.execute_sql("PRAGMA max_page_count = 100000")
    inserted = store.insert([*small, bad, *large])
    assert (inserted.stored, list(inserted.lost)) == (3, [2])
    assert_counted(store)


def test_a_full_database_is_no_row_error(store, decoders):
    (pages,) = store._database.execute_sql("PRAGMA page_count").fetchone()
    store._database.execute_sql(f"PRAGMA max_page_count = {pages}")
    large = calls(decoders, 20, input_text="x" * 9000)
    with pytest.raises((sqlite3.OperationalError, peewee.OperationalError)):
        store.insert(large)
    store._database.execute_sql("PRAGMA max_page_count = 100000")
    assert store.insert(large).stored == 20
    assert_counted(store)


def test_ids_are_never_used_again(store, decoders):
    store.insert(calls(decoders, 3))
    store._database.execute_sql("DELETE FROM llm_traces")
    store.insert(calls(decoders, 1))
    assert query(store, "SELECT id FROM llm_traces") == [(4,)]


def test_counters_and_rows_survive_closing(store, decoders):
    store.insert(calls(decoders, 3))
    store.close()
    assert not os.path.exists(f"{store.path}-wal")
    store.open()
    assert store.row_counts == {"stored": 3, "unpushed": 3}
    assert_counted(store)


def test_one_instance_per_database(store):
    with pytest.raises(StoreLocked, match="another running instance"):
        Store(store.path, synchronous="full").open()


def other_program(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE guests (name TEXT)")
        connection.commit()


def newer_version(path):
    store = Store(path, synchronous="full")
    store.open()
    store._database.execute_sql("PRAGMA user_version = 99")
    store.close()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (other_program, "another program"),
        (newer_version, "schema version 99"),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.symlink_to(path.parent / "nowhere" / "x"), "link"),
    ],
)
def test_a_store_that_is_not_ours_to_open_is_explained_and_not_touched(tmp_path, prepare, words):
    path = tmp_path / "trace.db"
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=words):
        Store(path, synchronous="full").open()
    assert not [name for name in os.listdir(tmp_path) if "corrupt" in name]
    if before is not None:
        assert path.read_bytes() == before


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "trace.db", synchronous="full").open()


def damage_header(path):
    path.write_bytes(b"this is no database at all, but long enough to look like one " * 200)


def damage_pages(path):
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 100])


@pytest.mark.parametrize("damage", [damage_header, damage_pages, cut_short])
def test_a_damaged_database_is_moved_aside_and_a_new_one_begun(tmp_path, decoders, damage):
    path = tmp_path / "trace.db"
    store = Store(path, synchronous="full")
    store.open()
    store.insert(calls(decoders, 200, input_text="x" * 500))
    store.close()
    damage(path)
    damaged = path.read_bytes()
    store.open()
    try:
        assert len(store.notices) == 1
        assert store.insert(calls(decoders, 1)).stored == 1
        assert store.row_counts["stored"] == 1
        (aside,) = [name for name in os.listdir(tmp_path) if name.endswith("Z")]
        assert ".corrupt-" in aside
        # All but the header, whose change counter opening may have moved on.
        assert (tmp_path / aside).read_bytes()[100:] == damaged[100:]
        assert aside in store.notices[0]
    finally:
        store.close()


def test_readers_in_other_threads_do_not_disturb_the_writer(store, decoders):
    store.insert(calls(decoders, 100))
    seen = []

    def read():
        for _ in range(20):
            seen.append(sum(1 for _ in store.outbox.rows(all_of(KINDS))))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(20):
        store.insert(calls(decoders, 5))
    for reader in readers:
        reader.join()
    assert len(seen) == 60
    assert all(100 <= count <= 200 for count in seen)
    assert_counted(store)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(KIND_AND_PAYLOAD, min_size=1, max_size=5))
def test_what_is_accepted_reads_back_equal_from_database_and_push_body(
    store, decoders, kinds_and_payloads
):
    records = []
    for kind, payload in kinds_and_payloads:
        try:
            records.append(decoders[kind].decode(json.dumps(payload).encode(), 1000))
        except EventError:
            continue
    inserted = store.insert(records)
    assert inserted.lost == {}
    batch = encode_batch(
        (row for row in store.outbox.rows(all_of(KINDS))),
        agent_id="a",
        sent_at=1,
        dropped={},
        max_bytes=10**9,
    )
    by_id = {} if batch is None else pushed_by_id(batch.body)
    for record in records:
        expected = {
            name: value
            for name, value in zip(record.kind.stored_columns(), record.row, strict=True)
            if value is not None
        }
        if "metadata" in expected:
            expected["metadata"] = json.loads(expected["metadata"])
        assert by_id[record.kind.type_name, record.trace_id] == expected
        columns = ", ".join(record.kind.stored_columns())
        (stored,) = store._database.execute_sql(
            f"SELECT {columns} FROM {record.kind._meta.table_name} WHERE trace_id = ?",
            (record.trace_id,),
        ).fetchall()
        assert stored == record.row
    for kind in KINDS:
        store._database.execute_sql(f"DELETE FROM {kind._meta.table_name}")


def pushed_by_id(body):
    events = json.loads(body, parse_constant=pytest.fail)["events"]
    return {(event["type"], event["data"]["trace_id"]): event["data"] for event in events}
