import os

import pytest

from tests.support.rows import assert_counted, deleted, fill, mark_pushed, query
from tracer import repair, store_file
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.store import Store

PAGE = 4096


def leave_unclean(store):
    """Ends as a killed process does: nothing is closed or copied from the log."""
    folder = store.path.parent
    copies = {
        name: (folder / name).read_bytes()
        for name in os.listdir(folder)
        if name.startswith(store.path.name) and not name.endswith((".lock", "-shm", ".ballast"))
    }
    store.close()
    for name, content in copies.items():
        (folder / name).write_bytes(content)


def zero_pages(path, first, count):
    with path.open("r+b") as file:
        file.seek(first * PAGE)
        file.write(bytes(count * PAGE))


def open_again(store):
    store.open()
    notices = []

    def step(job):
        return job(store)

    repair.save_rows(store, step, notices.append)
    repair.look_for_damage(store, step)
    if not store.is_open:
        store.open()
        notices += store.notices
        repair.save_rows(store, step, notices.append)
    return notices


@pytest.fixture
def filled(store, decoders):
    for kind in (LlmTrace, ErrorEvent, CustomEvent):
        fill(store, decoders, kind, 500, 1000, size=500)
    mark_pushed(store, LlmTrace, 1, 300)
    store._database.execute_sql("PRAGMA wal_checkpoint(PASSIVE)")
    return store


def test_a_clean_stop_needs_no_check(filled):
    filled.close()
    filled.open()
    assert filled.is_checked


def test_after_an_unclean_stop_all_pages_are_read(filled):
    leave_unclean(filled)
    filled.open()
    assert not filled.is_checked
    repair.look_for_damage(filled, pytest.fail)
    assert filled.is_checked
    assert filled.is_open
    assert_counted(filled)


def test_zeroed_pages_are_found_and_every_row_outside_them_is_taken_over(filled, figure):
    pages = filled.path.stat().st_size // PAGE
    before = {kind: rows_of(filled, kind) for kind in KINDS}
    leave_unclean(filled)
    zero_pages(filled.path, pages // 2, 10)
    filled.wal_path.write_bytes(bytes(100))  # else the pages come back from the log
    notices = open_again(filled)
    assert "moved aside" in notices[0]
    after = {kind: rows_of(filled, kind) for kind in KINDS}
    lost = 0
    for kind in KINDS:
        assert after[kind].items() <= before[kind].items()
        lost += len(before[kind]) - len(after[kind])
    assert 0 < lost <= 10 * 8
    assert sum(deleted(filled).values()) == lost
    assert f"of 1500 rows in {aside(filled).name}, {1500 - lost} could be read" in notices[-1]
    assert_counted_but_for_damage(filled)
    figure(zeroed_pages=10, rows=1500, rows_lost=lost)


def test_a_header_that_is_no_database_gives_nothing_but_a_new_one(filled):
    leave_unclean(filled)
    filled.path.write_bytes(b"no database " * 5000)
    filled.path.with_name(filled.path.name + "-wal").unlink()
    notices = open_again(filled)
    assert "of an unknown number of rows" in notices[-1]
    assert deleted(filled) == {}
    assert_counted(filled)


def test_taking_over_goes_on_after_a_restart_and_counts_nothing_twice(filled, monkeypatch):
    rows = {kind: rows_of(filled, kind) for kind in KINDS}
    filled.close_damaged("for the test")
    filled.open()
    steps = []

    def step(job):
        steps.append(job)
        if len(steps) > 7:
            raise KeyboardInterrupt
        return job(filled)

    with pytest.raises(KeyboardInterrupt):
        repair.save_rows(filled, step, pytest.fail)
    filled.close()
    again = Store(filled.path, synchronous="full")
    again.open()
    try:
        notices = []
        repair.save_rows(again, lambda job: job(again), notices.append)
        assert {kind: rows_of(again, kind) for kind in KINDS} == rows
        assert "1500 could be read" in notices[0]
        assert again.quarantined is None
        assert deleted(again) == {}
        assert_counted(again)
    finally:
        again.close()


def test_only_the_newest_damaged_file_is_kept(filled):
    for _ in range(2):
        filled.close_damaged("for the test")
        filled.open()
    assert aside(filled)


def rows_of(store, kind):
    rows = query(
        store, f"SELECT trace_id, received_at, pushed_at, metadata FROM {kind._meta.table_name}"
    )
    return {row[0]: row[1:] for row in rows}


def aside(store):
    (found,) = [p for p in store_file._quarantined_files(store.path) if p.name.endswith("Z")]
    return found


def assert_counted_but_for_damage(store):
    total = sum(len(rows_of(store, kind)) for kind in KINDS)
    counts = store.row_counts
    assert counts["pushed"] + counts["unpushed"] == total
    assert counts["stored"] == total + sum(deleted(store).values())
