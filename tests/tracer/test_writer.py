import errno
import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from tests.support import wait_until
from tracer import writer as writer_module
from tracer.errors import StoreError
from tracer.events import CustomEvent
from tracer.intake import Intake, NotTaken, Receipt
from tracer.ledger import Ledger
from tracer.store import Store
from tracer.writer import RETRY_LOCKED_S, RETRY_OPEN_S, RETRY_WRITE_S, Writer


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def intake(ledger):
    return Intake(ledger, capacity=100, max_bytes=10**7, batch_size=10)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def make(tmp_path, intake, notices, monkeypatch):
    """Makes a writer on a path; steps do not wait for events."""
    monkeypatch.setattr(writer_module, "IDLE_WAIT_S", 0)
    made = []

    def make_writer(path=tmp_path / "trace.db", max_bytes=None, **options):
        store = Store(path, synchronous="full", max_bytes=max_bytes)
        made.append(store)
        return Writer(store, intake, window_s=0.5, report=notices.append, **options)

    yield make_writer
    for store in made:
        store.close()


def offer(intake, decoders, count=1, receipt=None):
    records = [decoders[CustomEvent].decode(b'{"name":"n"}', 1) for _ in range(count)]
    intake.offer(records, receipt=receipt)
    return records


def offer_huge(intake, decoders):
    """An event that needs new pages."""
    intake.offer([decoders[CustomEvent].decode(b'{"name":"n","x":"' + b"x" * 99999 + b'"}', 1)])


def limit_pages(writer, count):
    writer._store._database.execute_sql(f"PRAGMA max_page_count = {count}")


def test_the_first_step_opens_the_store_later_ones_commit_batches(make, intake, ledger, decoders):
    writer = make()
    assert writer.database_status == "opening"
    with pytest.raises(NotTaken, match="not open yet"):
        offer(intake, decoders)
    assert writer.run_once() is None
    assert writer.database_status == "ok"
    offer(intake, decoders, 25)
    for left in (15, 5, 0):
        assert writer.run_once() is None
        assert len(intake) == left
    assert ledger.counts()["stored"] == 25
    assert writer._store.row_counts["stored"] == 25


def test_a_receipt_is_settled_by_the_commit(make, intake, decoders):
    writer = make()
    writer.run_once()
    receipt = Receipt(2)
    offer(intake, decoders, 2, receipt)
    assert not receipt.wait(0)
    writer.run_once()
    assert receipt.wait(0)


def test_a_failed_commit_loses_nothing_and_says_why(make, intake, ledger, decoders):
    writer = make()
    writer.run_once()
    limit_pages(writer, 1)
    offer_huge(intake, decoders)
    assert writer.run_once() == RETRY_WRITE_S
    assert "largest size" in writer.database_status
    assert intake.trouble == writer.database_status
    assert len(intake) == 1
    limit_pages(writer, 100000)
    assert writer.run_once() is None
    assert writer.database_status == "ok"
    assert ledger.counts()["stored"] == 1
    assert ledger.counts()["lost"] == {}


def test_a_bad_row_is_counted_and_its_neighbours_live(make, intake, ledger, decoders):
    writer = make()
    writer.run_once()
    receipt = Receipt(3)
    good = [decoders[CustomEvent].decode(b'{"name":"n"}', 1) for _ in range(3)]
    bad = list(good[1].row)
    bad[CustomEvent.stored_columns().index("name")] = None
    good[1] = good[1]._replace(row=tuple(bad))
    intake.offer(good, receipt=receipt)
    writer.run_once()
    assert receipt.wait(0)
    assert receipt.lost == 1
    assert ledger.counts()["stored"] == 2
    assert ledger.counts()["lost"] == {"row_refused": 1}


def test_other_threads_have_their_writes_done_here(make):
    writer = make()
    writer.run_once()
    results = []

    def ask():
        results.append(writer.perform(lambda store: threading.get_ident(), 5))
        with pytest.raises(ZeroDivisionError):
            writer.perform(lambda store: 1 / 0, 5)
        results.append("done")

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 5
    while thread.is_alive() and time.monotonic() < deadline:
        writer.run_once()
    assert results == [threading.get_ident(), "done"]


def test_other_writes_are_done_while_commits_fail(make, intake, decoders):
    """One of them may be what makes room."""
    writer = make()
    writer.run_once()
    limit_pages(writer, 1)
    offer_huge(intake, decoders)
    done = []
    asking = threading.Thread(
        target=lambda: done.append(writer.perform(lambda store: limit_pages(writer, 99999), 5))
    )
    asking.start()
    wait_until(lambda: writer._requests)
    assert writer.run_once() == RETRY_WRITE_S
    asking.join(5)
    assert done == [None]
    assert writer.run_once() is None
    assert len(intake) == 0


def test_writes_meant_for_a_file_that_was_closed_fail_at_once(make):
    writer = make()
    errors = []

    def ask():
        try:
            writer.perform(lambda store: None, 20)
        except StoreError as error:
            errors.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: writer._requests)
    writer.run_once()
    asking.join(5)
    assert "opened anew" in errors[0]


def test_a_write_whose_thread_gave_up_is_not_done(make):
    writer = make()
    calls = []
    with pytest.raises(StoreError):
        writer.perform(calls.append, 0.01)
    writer._store.open()
    writer.run_once()
    assert calls == []
    assert not writer._requests


def test_damage_found_while_running_sets_the_file_aside(make, intake, ledger, notices, decoders):
    writer = make()
    writer.run_once()
    offer(intake, decoders, 10)
    writer.run_once()
    root = "SELECT rootpage FROM sqlite_master WHERE name = 'custom_events_trace_id'"
    database = writer._store._database
    (page,) = database.execute_sql(root).fetchone()
    writer._store.close()
    with open(writer._store.path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    writer.run_once()
    offer(intake, decoders)
    assert writer.run_once() == RETRY_WRITE_S
    assert "damaged" in writer.database_status
    assert writer.run_once() is None
    assert "moved aside" in notices[0]
    assert writer.run_once() is None
    assert len(intake) == 0
    assert writer._store.row_counts["stored"] == 1


@pytest.mark.parametrize("gone", ["deleted", "replaced", "folder"])
def test_a_file_that_is_gone_is_noticed_and_nothing_more_is_lost(
    make, intake, ledger, notices, decoders, tmp_path, gone
):
    writer = make(tmp_path / "data" / "trace.db")
    writer.run_once()
    offer(intake, decoders, 3)
    writer.run_once()
    path = writer._store.path
    if gone == "folder":
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    if gone == "replaced":
        path.write_bytes(b"")
    offer(intake, decoders, 2)
    writer.run_once()
    assert "deleted or replaced" in notices[0]
    writer.run_once()
    assert len(intake) == 0
    assert ledger.counts()["stored"] == 5
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM custom_events").fetchone() == (2,)


def test_a_damaged_file_that_cannot_be_moved_is_explained(make, intake, tmp_path, monkeypatch):
    (tmp_path / "trace.db").write_bytes(b"no database " * 1000)
    monkeypatch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(OSError(16, "busy")))
    writer = make()
    assert writer.run_once() == RETRY_OPEN_S
    assert "cannot be moved aside: busy" in writer.database_status


def test_a_store_that_opens_after_the_stop_admits_nothing(make, intake, decoders):
    intake.close()
    make().run_once()
    with pytest.raises(NotTaken, match="shutting down"):
        offer(intake, decoders)


def test_a_write_that_nobody_does_times_out(make):
    with pytest.raises(StoreError, match="not done within"):
        make().perform(lambda store: None, 0.01)


def test_a_store_that_cannot_be_opened_refuses_events_and_is_tried_again(
    make, intake, decoders, tmp_path
):
    blocker = tmp_path / "folder"
    blocker.write_text("a file where a folder should be")
    writer = make(blocker / "trace.db")
    assert writer.run_once() == RETRY_OPEN_S
    assert "folder" in writer.database_status
    with pytest.raises(NotTaken, match="folder"):
        offer(intake, decoders)
    blocker.unlink()
    assert writer.run_once() is None
    offer(intake, decoders)
    writer.run_once()
    assert len(intake) == 0


def test_while_another_instance_has_the_database_nothing_is_promised(make, intake, decoders):
    first, second = make(), make()
    first.run_once()
    assert second.run_once() == RETRY_LOCKED_S
    assert "another running instance" in second.database_status
    with pytest.raises(NotTaken, match="another running instance"):
        offer(intake, decoders)
    first.finish(time.monotonic() + 5)
    assert second.run_once() is None
    assert second.database_status == "ok"
    offer(intake, decoders)


def test_damage_found_while_opening_is_reported(make, notices, tmp_path):
    (tmp_path / "trace.db").write_bytes(b"no database " * 1000)
    make().run_once()
    assert len(notices) == 1
    assert "moved aside" in notices[0]


def test_finish_drains_everything_and_closes(make, intake, ledger, decoders):
    writer = make()
    writer.run_once()
    offer(intake, decoders, 35)
    writer.finish(time.monotonic() + 5)
    assert len(intake) == 0
    assert ledger.counts()["stored"] == 35
    assert not writer._store.is_open


def test_finish_gives_up_in_time_and_counts_what_it_could_not_store(make, intake, ledger, decoders):
    writer = make()
    writer.run_once()
    limit_pages(writer, 1)
    offer_huge(intake, decoders)
    started = time.monotonic()
    writer.finish(started + 0.3)
    assert time.monotonic() - started < 3
    assert ledger.counts()["lost"] == {"shutdown": 1}
    assert ledger.counts()["queued"] == 0


def test_events_lost_at_the_stop_are_noted_for_the_remote(make, intake, decoders):
    writer = make()
    writer.run_once()
    offer(intake, decoders, 3)
    writer.finish(time.monotonic())  # no time is left
    writer._store.open()
    assert writer._store.row_counts["lost.shutdown"] == 3


def test_while_the_database_is_full_nothing_new_is_taken_and_room_is_asked_for(
    make, intake, ledger, decoders
):
    asked = []
    writer = make(ask_for_room=lambda: asked.append(1))
    writer.run_once()
    assert asked == [1]  # a first pass, as soon as it is open
    limit_pages(writer, 1)
    offer_huge(intake, decoders)
    for _ in range(3):
        assert writer.run_once() == RETRY_WRITE_S
    assert asked == [1, 1]
    with pytest.raises(NotTaken, match="largest size"):
        offer(intake, decoders)
    (pages,) = writer._store._database.execute_sql("PRAGMA page_count").fetchone()
    limit_pages(writer, pages + 100)
    assert writer.run_once() is None
    assert len(intake) == 0, "what was accepted is stored as soon as it fits"
    with pytest.raises(NotTaken, match="largest size"):
        offer(intake, decoders)
    assert "largest size" in writer.database_status
    limit_pages(writer, pages + 500)
    assert writer.run_once() is None
    assert writer.database_status == "ok"
    assert writer._store.ballast.is_held()
    offer(intake, decoders)
    writer.run_once()
    assert ledger.counts()["stored"] == 2


def test_a_job_that_meets_a_full_database_asks_for_room_too(make):
    asked = []
    writer = make(ask_for_room=lambda: asked.append(1))
    writer.run_once()

    def fail(_store):
        raise OSError(errno.ENOSPC, "full")

    request = writer_module._Request(fail)
    writer._requests.append(request)
    writer.run_once()
    assert request.error is not None
    assert asked == [1, 1]


def test_the_database_stays_below_its_limit(make, intake, decoders):
    writer = make(max_bytes=1 << 20)
    writer.run_once()
    for _ in range(20):
        try:
            offer_huge(intake, decoders)
        except NotTaken:
            break
        writer.run_once()
    assert writer.database_status != "ok"
    pages = writer._store._database.execute_sql("PRAGMA page_count").fetchone()[0]
    assert 200 < pages <= 256


def test_rows_survive_the_loss_of_the_log(make, intake, ledger, notices, decoders):
    """They are in it until a checkpoint; what we hold open has them still."""
    writer = make()
    writer.run_once()
    offer(intake, decoders, 5)
    writer.run_once()
    writer._store.wal_path.unlink()
    offer(intake, decoders, 2)
    writer.run_once()
    assert "write-ahead log was deleted" in notices[0]
    writer.run_once()
    with closing(sqlite3.connect(writer._store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM custom_events").fetchone() == (7,)
