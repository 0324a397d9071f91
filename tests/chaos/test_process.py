"""The process: stopped and continued, threads hit by exceptions, a clock that jumps."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.faults import amount, assert_kept, promised_more, seconds_until
from tests.support.gunicorn import PROJECT, Gunicorn
from tests.support.load import Load

pytestmark = pytest.mark.fault

THREAD_DEATH = """
import ctypes, signal, threading

__file__ = {source!r}
exec(compile(open(__file__).read(), __file__, "exec"))
_then = post_worker_init

def post_worker_init(worker):
    _then(worker)
    signal.signal(signal.SIGRTMIN, _interrupt)

def _interrupt(*_):
    for thread in threading.enumerate():
        if thread.name in ("writer", "janitor", "push"):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
            )
"""


def test_a_process_that_stands_still_goes_on_where_it_was(tmp_path, figure):
    """As when a virtual machine is paused."""
    with Gunicorn(tmp_path) as server, Load(server.port, per_s=100) as load:
        recovery_s = 0.0
        for _ in range(amount(2, 20)):
            promised_more(load)
            (worker,) = server.worker_pids
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1)
            os.kill(worker, signal.SIGCONT)
            recovery_s = max(recovery_s, seconds_until(server.answers))
            assert server.worker_pids == [worker]
        assert_kept(server, load, figure, recovery_s=recovery_s)


def test_threads_hit_by_an_exception_go_on(tmp_path, figure, remote):
    conf = tmp_path / "hurt.conf.py"
    conf.write_text(THREAD_DEATH.format(source=str(PROJECT / "gunicorn.conf.py")))
    with (
        Gunicorn(
            tmp_path, str(conf), TRACE_PUSH_ENDPOINT=remote.url, TRACE_PUSH_INTERVAL="1s"
        ) as server,
        Load(server.port, per_s=100) as load,
    ):
        for number in range(amount(2, 20)):
            promised_more(load)
            os.kill(server.worker_pids[0], signal.SIGRTMIN)
            wait_until(
                lambda number=number: server.health()["workers"]["writer"]["failures"] > number
            )
        promised_more(load)
        workers = server.health()["workers"]
        assert all(worker["alive"] for worker in workers.values())
        wait_until(lambda: server.health()["last_push_status"] == "success")
        assert_kept(server, load, figure, writer_failures=workers["writer"]["failures"])


def test_a_long_reader_makes_an_alarm_and_stalls_nothing(tmp_path, figure):
    settings = {"TRACE_WAL_MAX_BYTES": "5MB", "TRACE_CHECKPOINT_INTERVAL": "1s"}
    with (
        Gunicorn(tmp_path, **settings) as server,
        Load(server.port, per_s=300, size=8000, wait=True) as load,
    ):
        promised_more(load)
        reader = sqlite3.connect(f"file:{server.database}?mode=ro", uri=True, isolation_level=None)
        with closing(reader):
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM llm_traces").fetchone()
            wait_until(lambda: any("log has grown" in w for w in server.health()["warnings"]), 60)
            promised_more(load, amount(300, 5000), 60)
            wal_mb = server.health()["wal_size_bytes"] / 2**20
        wait_until(lambda: server.health()["wal_size_bytes"] <= 5 << 20, 20)
        wait_until(lambda: not any("log has grown" in w for w in server.health()["warnings"]))
        slowest_ms = max(load.latencies_ms)
        assert_kept(server, load, figure, wal_mb=wal_mb, slowest_commit_ms=slowest_ms)


def test_deleting_beside_a_load_shrinks_the_file(tmp_path, figure):
    """Old rows of 20 MB (short set) or 100 MB go while events come in."""
    rows = amount(5_000, 25_000)
    subprocess.run(
        [sys.executable, "-m", "tests.chaos.old_rows", tmp_path / "trace.db", str(rows)],
        cwd=PROJECT,
        check=True,
    )
    before_mb = (tmp_path / "trace.db").stat().st_size / 2**20
    with Gunicorn(tmp_path) as server, Load(server.port, per_s=50, clients=2) as load:
        took_s = seconds_until(
            lambda: server.health()["events"]["rows"]["deleted"].get("age_unpushed") == rows, 120
        )
        wait_until(lambda: server.database.stat().st_size < 5 << 20, 60)
        promised_more(load)
        with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA freelist_count").fetchone()[0] < 50
        after_mb = server.database.stat().st_size / 2**20
        assert_kept(
            server, load, figure, rows=rows, took_s=took_s, before_mb=before_mb, after_mb=after_mb
        )


@pytest.fixture
def faketime(tmp_path):
    """Settings under which the wall clock is what a file says, and a way to set it off."""
    pytest.importorskip("libfaketime", reason="`make chaos` installs it")
    import libfaketime

    (library,) = Path(libfaketime.__file__).parent.glob("vendor/**/libfaketime.so.1")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environ = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return environ, offset.write_text


@pytest.mark.parametrize("jump", ["+3650d", "+30d", "-1d"])
def test_a_clock_that_jumps_deletes_nothing(tmp_path, figure, faketime, jump):
    environ, set_clock = faketime
    settings = environ | {"TRACE_CLEANUP_INTERVAL": "1s"}
    with Gunicorn(tmp_path, **settings) as server, Load(server.port, per_s=50) as load:
        for offset in (jump, "+0", jump):
            promised_more(load)
            seen = server.health()["workers"]["janitor"]["last_ok_at"]
            set_clock(offset)
            wait_until(
                lambda seen=seen: (
                    abs(server.health()["workers"]["janitor"]["last_ok_at"] - seen) > 10**7
                )
            )
            time.sleep(1.2)
        assert server.health()["events"]["rows"]["deleted"] == {}
        load.stop()
        server.stop()
    set_clock("+7300d" if jump.startswith("+") else "+0")
    with Gunicorn(tmp_path, **settings) as server, Load(server.port, per_s=50) as again:
        again.promised.update(load.promised)
        wait_until(lambda: server.health()["workers"]["janitor"]["last_ok_at"])
        promised_more(again)
        time.sleep(1.2)
        assert server.health()["events"]["rows"]["deleted"] == {}
        assert_kept(server, again, figure, jump=jump)
