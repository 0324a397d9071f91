import sqlite3
import time
from contextlib import closing

import pytest

from tests.support.rows import assert_counted, deleted, fill, mark_pushed, query
from tracer import age_clock, maintenance, retention, store_file, volume
from tracer import janitor as janitor_module
from tracer.errors import StoreError
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.janitor import DAY_MS, RETRY_S, Janitor
from tracer.ledger import Deletion
from tracer.outbox import unreported
from tracer.rows import PushAttempt
from tracer.store import Store

NOW = 1_800_000_000_000
BIG = 1 << 40


@pytest.fixture
def clock(monkeypatch):
    """Moves both clocks by hand: `pass_ms` what really passes, `jump_ms` what only the wall does."""

    class Clock:
        wall, uptime = NOW, 1_000_000

        def pass_ms(self, ms):
            self.wall += ms
            self.uptime += ms

        def jump_ms(self, ms):
            self.wall += ms

    clock = Clock()
    monkeypatch.setattr(janitor_module, "now_ms", lambda: clock.wall)
    monkeypatch.setattr(age_clock, "read_uptime", lambda: ("boot", clock.uptime))
    return clock


@pytest.fixture
def make(store, clock):
    def make_janitor(**options):
        return Janitor(
            store,
            lambda job: job(store),
            **{
                "retention_days": 7,
                "keeps_unpushed": True,
                "max_db_bytes": BIG,
                "min_db_bytes": 0,
                "disk_max_percent": 100,
                "wal_max_bytes": BIG,
                "report": lambda _: None,
                **options,
            },
        )

    return make_janitor


def refuse(store, kind, row_id):
    with store.counting() as changes:
        kind.update(push_error="bad").where(kind.id == row_id).execute(store.database)
        changes.update(refused=1, unpushed=-1)


def ids(store, kind):
    return [row[0] for row in query(store, f"SELECT id FROM {kind._meta.table_name} ORDER BY id")]


def test_pushed_rows_go_by_age_the_others_wait_for_their_push(make, store, decoders):
    fill(store, decoders, LlmTrace, 30, NOW - 8 * DAY_MS)
    fill(store, decoders, LlmTrace, 30, NOW - 6 * DAY_MS)
    mark_pushed(store, LlmTrace, 1, 20)
    refuse(store, LlmTrace, 21)
    mark_pushed(store, LlmTrace, 31, 60)
    assert make().run_once() is None
    assert ids(store, LlmTrace) == list(range(22, 61))
    assert deleted(store) == {"age": 21}
    assert_counted(store)


def test_without_an_endpoint_all_rows_go_by_age(make, store, decoders):
    for kind in (LlmTrace, ErrorEvent, CustomEvent):
        fill(store, decoders, kind, 250, NOW - 8 * DAY_MS)
        fill(store, decoders, kind, 5, NOW - DAY_MS)
    make(keeps_unpushed=False).run_once()
    for kind in (LlmTrace, ErrorEvent, CustomEvent):
        assert ids(store, kind) == list(range(251, 256))
    assert deleted(store) == {"age_unpushed": 750}
    assert dict(store.row_counts)["deleted_by_table.llm_traces.age_unpushed"] == 250
    assert_counted(store)


def test_rows_from_a_wrong_clock_go_with_their_neighbours(make, store, decoders):
    """They neither hold up the walk for years nor go before those that came earlier."""
    fill(store, decoders, CustomEvent, 5, NOW - 9 * DAY_MS)
    fill(store, decoders, CustomEvent, 1500, NOW + 3650 * DAY_MS)
    fill(store, decoders, CustomEvent, 5, NOW - 8 * DAY_MS)
    fill(store, decoders, CustomEvent, 3, NOW + 3650 * DAY_MS)
    fill(store, decoders, CustomEvent, 3, NOW - DAY_MS)
    make(keeps_unpushed=False).run_once()
    assert ids(store, CustomEvent) == list(range(1511, 1517))


@pytest.mark.parametrize("days", [1, 30, 3650])
def test_a_clock_that_jumps_forward_deletes_nothing(make, store, clock, decoders, days):
    fill(store, decoders, CustomEvent, 10, NOW)
    janitor = make(keeps_unpushed=False)
    janitor.run_once()
    clock.jump_ms(days * DAY_MS)
    for _ in range(7 * 24):
        janitor.run_once()
        assert len(ids(store, CustomEvent)) == 10
        clock.pass_ms(DAY_MS // 24)
    assert any("clock" in warning for warning in janitor.warnings()) == (days > 1)
    fill(store, decoders, CustomEvent, 1, clock.wall)
    clock.pass_ms(1)
    janitor.run_once()
    assert ids(store, CustomEvent) == [11]
    assert list(janitor.warnings()) == []


def test_a_clock_that_jumped_while_the_service_was_down_deletes_nothing(
    make, store, clock, decoders
):
    fill(store, decoders, CustomEvent, 10, NOW)
    make(keeps_unpushed=False).run_once()
    clock.jump_ms(3650 * DAY_MS)
    store.close()
    store.open()
    make(keeps_unpushed=False).run_once()
    assert len(ids(store, CustomEvent)) == 10


def test_a_database_opened_anew_has_its_own_age(make, store):
    janitor = make()
    janitor.run_once()
    store.close()
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE clock SET age_at = age_at - ?, held_ms = 9999", (DAY_MS,))
    store.open()
    janitor.run_once()
    assert query(store, "SELECT age_at FROM clock") == [(NOW - DAY_MS,)]


def test_time_the_service_was_down_counts_if_the_kernel_saw_it_pass(make, store, clock, decoders):
    fill(store, decoders, CustomEvent, 10, NOW)
    make(keeps_unpushed=False).run_once()
    clock.pass_ms(8 * DAY_MS)
    make(keeps_unpushed=False).run_once()
    assert ids(store, CustomEvent) == []


def test_above_its_size_the_database_loses_pushed_rows_first_then_by_kind(make, store, decoders):
    for kind in (LlmTrace, ErrorEvent, CustomEvent):
        fill(store, decoders, kind, 300, NOW, size=1000)
    mark_pushed(store, LlmTrace, 1, 100)
    size = in_use(store)
    make(max_db_bytes=size - 100_000).run_once()
    assert ids(store, LlmTrace)[0] == 101
    assert len(ids(store, ErrorEvent)) == len(ids(store, CustomEvent)) == 300
    assert deleted(store) == {"size": 100}
    make(max_db_bytes=in_use(store) - 200_000).run_once()
    assert ids(store, CustomEvent)[0] > 100
    assert len(ids(store, ErrorEvent)) == 300
    assert ids(store, LlmTrace)[0] == 101
    make(max_db_bytes=0).run_once()
    assert [ids(store, kind) for kind in KINDS] == [[] for _ in KINDS]
    assert deleted(store) == {"size": 100, "size_unpushed": 800}
    assert_counted(store)


def test_among_pushed_rows_the_oldest_go_first_whatever_their_kind(make, store, decoders):
    for part in range(3):
        for kind in (LlmTrace, CustomEvent):
            fill(store, decoders, kind, 100, NOW + part * 1000, size=1000)
    for kind in (LlmTrace, CustomEvent):
        mark_pushed(store, kind, 1, 300)
    make(max_db_bytes=in_use(store) // 2).run_once()
    left = {len(ids(store, kind)) for kind in (LlmTrace, CustomEvent)}
    assert left <= {100, 200}
    assert deleted(store)["size"] == 600 - sum(len(ids(store, k)) for k in KINDS)


def test_pushed_rows_behind_unpushed_ones_still_go_first(make, store, decoders):
    fill(store, decoders, LlmTrace, 300, NOW, size=1000)
    mark_pushed(store, LlmTrace, 150, 300)
    make(max_db_bytes=in_use(store) - 100_000).run_once()
    kept = ids(store, LlmTrace)
    assert kept[:149] == list(range(1, 150))
    assert list(deleted(store)) == ["size"]
    make(max_db_bytes=in_use(store) - 50_000).run_once()
    assert ids(store, LlmTrace)[:149] == list(range(1, 150))
    assert_counted(store)


def test_the_file_shrinks(make, store, decoders):
    fill(store, decoders, LlmTrace, 3000, NOW - 8 * DAY_MS, size=1000)
    store._database.execute_sql("PRAGMA wal_checkpoint(PASSIVE)")
    before = store.path.stat().st_size
    assert before > 4_000_000
    make(keeps_unpushed=False).run_once()
    assert store._database.execute_sql("PRAGMA freelist_count").fetchone() == (0,)
    assert store.path.stat().st_size < before / 20


def test_a_tight_volume_shrinks_the_database_to_its_floor(make, store, decoders, monkeypatch):
    fill(store, decoders, LlmTrace, 3000, NOW, size=1000)
    aside = store.path.with_name(store.path.name + ".corrupt-x")
    aside.write_bytes(b"x" * 5000)
    monkeypatch.setattr(volume, "bytes_above", lambda *_: 10**9)
    janitor = make(min_db_bytes=2_000_000)
    janitor.run_once()
    assert not aside.exists()
    assert 1_900_000 < in_use(store) <= 2_000_000
    free = maintenance.pages(store.database).free * 4096
    assert 900_000 < free <= 1 << 20
    assert list(deleted(store)) == ["volume_unpushed"]
    assert "TRACE_MIN_DB_BYTES" in next(janitor.warnings())
    before = dict(store.row_counts)
    janitor.run_once()
    assert dict(store.row_counts) == before
    monkeypatch.setattr(volume, "bytes_above", lambda *_: 0)
    janitor.run_once()
    assert list(janitor.warnings()) == []
    assert maintenance.pages(store.database).free == 0


def test_a_volume_a_little_too_full_costs_only_as_much(make, store, decoders, monkeypatch):
    fill(store, decoders, LlmTrace, 3000, NOW, size=1000)
    monkeypatch.setattr(volume, "bytes_above", lambda *_: 500_000)
    before = in_use(store)
    make().run_once()
    assert before - 1_000_000 < in_use(store) <= before - 500_000


def test_beside_a_reader_a_volume_a_little_too_full_costs_no_more(
    make, store, decoders, monkeypatch
):
    """Nothing comes back before it ends: what was deleted must not count as still in use."""
    fill(store, decoders, LlmTrace, 3000, NOW, size=1000)
    maintenance.checkpoint(store, restart=False)

    def on_disk():
        return sum(store_file.size_bytes(store.path, name) for name in ("", "-wal"))

    goal = on_disk() - 500_000
    monkeypatch.setattr(volume, "bytes_above", lambda *_: max(0, on_disk() - goal))
    before, janitor = in_use(store), make()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN").connection.execute("SELECT * FROM llm_traces").fetchone()
        for _ in range(8):
            janitor.run_once()
        assert on_disk() > goal
    assert before - 3_000_000 < in_use(store) <= before - 500_000


def test_the_push_log_is_bounded(make, store, monkeypatch):
    monkeypatch.setattr(janitor_module, "PUSH_LOG_ROWS", 5)
    for number in range(9):
        store.outbox.keep(PushAttempt(str(number), 1, "failed", 500, 0, 1, 1, 1, "x"))
    make().run_once()
    assert [row[0] for row in query(store, "SELECT batch_id FROM push_log")] == list("45678")
    assert store.row_counts["deleted_by_table.push_log.old"] == 4


def test_deletions_of_unpushed_rows_are_told_once(store, decoders):
    fill(store, decoders, CustomEvent, 10, NOW)
    mark_pushed(store, CustomEvent, 1, 2)
    assert unreported(store.row_counts) == {}
    retention.delete(
        store, retention.Doomed(CustomEvent, 1, 5, False), Deletion.SIZE, store.generation
    )
    told = unreported(store.row_counts)
    assert told == {"size_unpushed": 3}
    retention.delete(
        store, retention.Doomed(CustomEvent, 6, 6, False), Deletion.SIZE, store.generation
    )
    mark_pushed(store, CustomEvent, 7, 7, told)
    assert unreported(store.row_counts) == {"size_unpushed": 1}
    store.close()
    store.open()
    assert unreported(store.row_counts) == {"size_unpushed": 1}


def test_a_stop_ends_a_pass_between_two_steps(make, store, decoders):
    fill(store, decoders, CustomEvent, 500, NOW - 8 * DAY_MS)
    janitor = make(keeps_unpushed=False)
    janitor.end()
    assert janitor.run_once() is None
    assert len(ids(store, CustomEvent)) == 500


def test_a_store_that_is_not_fit_is_tried_again_soon(make, store):
    janitor = make()

    def unfit(_job):
        raise StoreError("the database had to be opened anew")

    janitor._write = unfit
    assert janitor.run_once() == RETRY_S
    assert janitor.checkpoint() == RETRY_S
    store.generation = 0
    assert janitor.run_once() is None


def test_a_passive_checkpoint_waits_for_nobody_and_keeps_the_log(make, store, decoders):
    fill(store, decoders, CustomEvent, 100, NOW)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN").connection.execute("SELECT * FROM custom_events").fetchone()
        fill(store, decoders, CustomEvent, 100, NOW)
        started = time.monotonic()
        assert make().checkpoint() is None
        assert time.monotonic() - started < 0.2
    assert store_file.size_bytes(store.path, "-wal") == 4 << 20


@pytest.mark.parametrize("job", ["checkpoint", "run_once"])
def test_a_log_that_grew_beside_a_reader_is_cut_once_it_ends(make, store, decoders, job):
    janitor = make(wal_max_bytes=5 << 20)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN").connection.execute("SELECT * FROM custom_events").fetchone()
        fill(store, decoders, LlmTrace, 8000, NOW, size=1000)
        assert store_file.size_bytes(store.path, "-wal") > 5 << 20
        started = time.monotonic()
        janitor.checkpoint()
        assert 0.02 < time.monotonic() - started < 2
        assert "write-ahead log" in next(janitor.warnings())
        assert store._database.execute_sql("PRAGMA busy_timeout").fetchone() == (10_000,)
    getattr(janitor, job)()
    fill(store, decoders, CustomEvent, 1, NOW)
    assert store_file.size_bytes(store.path, "-wal") <= 4 << 20
    assert list(janitor.warnings()) == []


def in_use(store):
    return maintenance.pages(store.database).in_use_bytes


def test_rows_chosen_before_a_reopening_are_not_deleted(store, decoders):
    fill(store, decoders, CustomEvent, 5, NOW)
    doomed = retention.Doomed(CustomEvent, 1, 5, False)
    with pytest.raises(StoreError, match="opened anew"):
        retention.delete(store, doomed, Deletion.AGE, store.generation - 1)
    assert len(ids(store, CustomEvent)) == 5


def test_damage_met_by_a_pass_has_the_database_opened_anew(make, store, decoders, monkeypatch):
    def damaged(*_, **__):
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error

    monkeypatch.setattr(retention, "aged", damaged)
    assert make().run_once() == RETRY_S
    assert not store.is_open
    store.open()
    assert "moved aside" in store.notices[0]


def test_a_small_limit_of_the_log_holds_for_what_is_kept_too(tmp_path, decoders):
    store = Store(tmp_path / "small.db", synchronous="full", max_log_bytes=200_000)
    store.open()
    fill(store, decoders, LlmTrace, 1000, NOW, size=1000)
    assert store_file.size_bytes(store.path, "-wal") < 600_000
    store.close()
