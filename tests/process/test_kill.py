"""The worker is killed without warning; gunicorn starts another, which goes on."""

import os
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from tests.support import wait_until
from tests.support.faults import amount, rss_mb
from tests.support.gunicorn import Gunicorn, assert_balanced
from tests.support.load import Load, missing

pytestmark = pytest.mark.fault

KILLS = amount(20, 100)
WINDOW_S = 0.6


def kill_again_and_again(server, load):
    """Kills the worker at an odd moment, waits for the next; returns the moments."""
    moments = []
    for number in range(KILLS):
        before = len(load.promised)
        wait_until(lambda before=before: len(load.promised) > before + 10, 20)
        time.sleep(0.01 * (number % 7))
        (worker,) = server.worker_pids
        before_kill = time.time()
        os.kill(worker, signal.SIGKILL)
        moments.append((before_kill, time.time()))  # on a busy machine far apart
        wait_until(lambda worker=worker: server.worker_pids not in ([], [worker]), 20)
    before = len(load.promised)
    wait_until(lambda: len(load.promised) > before + 10, 20)
    load.stop()
    wait_until(lambda: server.health()["queue_depth"] == 0)
    return moments


def assert_intact(server):
    with closing(sqlite3.connect(server.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = server.health()["events"]["rows"]
    assert rows["stored"] == len(server.rows("SELECT id FROM llm_traces"))
    assert_balanced(server.health()["events"])


def figures(load, lost):
    return {
        "accepted": len(load.promised),
        "in_the_last_moment": len(lost),
        "ingest_p99_ms": load.p99_ms(),
    }


def test_what_was_accepted_more_than_a_moment_before_a_kill_is_there(tmp_path, conf, figure):
    with Gunicorn(tmp_path, conf) as server, Load(server.port) as load:
        moments = kill_again_and_again(server, load)
        lost = missing(load, server)
        window_s = WINDOW_S + load.stall_s  # a machine that stood still stores nothing
        for trace_id in lost:
            sent_at, answered_at = load.promised[trace_id]
            assert any(
                sent_at <= after and before <= answered_at + window_s for before, after in moments
            )
        assert_intact(server)
        figure(kills=KILLS, **figures(load, lost), rss_now_and_peak_mb=rss_mb(server))
        assert server.stop()[0] == 0


def test_what_was_waited_for_is_there_whatever_happened(tmp_path, conf, figure):
    with Gunicorn(tmp_path, conf) as server, Load(server.port, wait=True) as load:
        kill_again_and_again(server, load)
        lost = missing(load, server)
        assert lost == set()
        assert_intact(server)
        figure(kills=KILLS, **figures(load, lost), rss_now_and_peak_mb=rss_mb(server))
        assert server.stop()[0] == 0
