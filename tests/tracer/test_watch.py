import logging

from tests.support.host import process
from tracer.collectors.gateway import Found
from tracer.collectors.process_table import PAGE_BYTES, ProcessTable, parse_stat
from tracer.watch import Watch


def table(*stats):
    found = [parse_stat(text.encode()) for text in stats]
    return ProcessTable({each.pid: each for each in found}, 0)


def running(text, **more):
    return Found(parse_stat(text.encode()), **more)


ALIVE = process(50, start=100, rss=1000, name="openclaw-gatewa")


def look(watch, stats, found=None, **more):
    return watch.observe(table(*stats), found, **more)


def test_one_that_vanishes_is_reported_once_with_what_is_known():
    watch = Watch(lambda: 777)
    assert look(watch, [ALIVE], running(ALIVE)) is None
    assert look(watch, [ALIVE], running(ALIVE)) is None
    report = look(watch, [process(60)], oom_kills=1)
    assert (report.error_type, report.category, report.severity) == (
        "crash",
        "process_crash",
        "critical",
    )
    assert report.metadata["pid"] == 50
    assert report.metadata["end"] == "vanished"
    assert report.metadata["rss_bytes"] == 1000 * PAGE_BYTES
    assert report.metadata["last_seen_at"] == 777
    assert report.metadata["oom_kills"] == 1
    assert "50 (openclaw-gatewa)" in report.message
    assert "lack of memory" in report.message
    for _ in range(3):
        assert look(watch, [process(60)]) is None


def test_one_that_was_never_seen_is_not_missed():
    watch = Watch()
    assert look(watch, [process(60)]) is None
    assert watch.restarts == 0


def test_a_zombie_is_reported_once_with_its_exit():
    for code, expected in (
        (9, {"exit_signal": "SIGKILL"}),
        (3 << 8, {"exit_status": 3}),
        (0, {}),
        (63, {"exit_signal": 63}),
    ):
        watch = Watch()
        look(watch, [ALIVE], running(ALIVE))
        zombie = process(50, start=100, state="Z", rss=0, code=code)
        report = look(watch, [zombie])
        assert report.metadata["end"] == "zombie"
        assert {n: v for n, v in report.metadata.items() if n.startswith("exit")} == expected
        assert look(watch, [zombie]) is None
        assert look(watch, []) is None  # somebody waited for it


def test_a_restart_between_two_looks_is_a_crash_and_a_restart():
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE))
    again = process(51, start=900)
    report = look(watch, [again], running(again))
    assert report.metadata["successor_pid"] == 51
    assert watch.restarts == 1
    assert look(watch, [again], running(again)) is None


def test_the_same_pid_with_another_start_is_a_restart():
    """In a container the pid is often the same again."""
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE))
    again = process(50, start=900)
    assert look(watch, [again], running(again)).metadata["end"] == "vanished"
    assert watch.restarts == 1


def test_coming_back_after_a_while_is_a_restart_without_a_second_report():
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE))
    assert look(watch, []) is not None
    assert look(watch, []) is None
    again = process(52, start=900)
    assert look(watch, [again], running(again)) is None
    assert watch.restarts == 1


def test_an_end_in_good_order_takes_its_lock_along(tmp_path, caplog):
    lock = tmp_path / "gateway.x.lock"
    lock.touch()
    caplog.set_level(logging.INFO)
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE, lock=lock))
    lock.unlink()
    assert look(watch, []) is None
    assert "took its lock with it" in caplog.text
    lock.touch()
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE, lock=lock))
    assert look(watch, []).category == "process_crash"


def test_a_successor_while_the_old_one_drains_is_no_crash():
    watch = Watch()
    look(watch, [ALIVE], running(ALIVE))
    new = process(60, start=900)
    assert look(watch, [ALIVE, new], running(new)) is None
    assert look(watch, [new], running(new)) is None
    assert watch.restarts == 1


def test_a_restart_within_the_process_shows_in_its_own_uptime():
    watch = Watch()
    for uptime_ms, restarts in (
        (1000, 0),
        (16000, 0),
        (None, 0),
        (31000, 0),
        (None, 0),
        (4000, 1),
        (None, 1),
        (19000, 1),
        (5, 2),
    ):
        assert look(watch, [ALIVE], running(ALIVE), uptime_ms=uptime_ms) is None
        assert watch.restarts == restarts
