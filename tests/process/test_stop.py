"""Stopping under load, with real signals: every 202 is a row."""

import json
import os
import signal
import socket
import time

import pytest

from tests.support import wait_until
from tests.support.gunicorn import Gunicorn, assert_balanced
from tests.support.load import Load, missing

BUDGET_S = 4


def last_ledger(server):
    """The counts of the line the service writes when it has stopped."""
    line = next(line for line in reversed(server.log_lines()) if "stopped:" in line["message"])
    return json.loads(line["message"].partition("stopped: ")[2])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_under_load_loses_nothing_and_is_in_time(tmp_path, conf, signum, remote):
    with (
        Gunicorn(tmp_path, conf, TRACE_PUSH_ENDPOINT=remote.url) as server,
        Load(server.port) as load,
    ):
        wait_until(lambda: len(load.promised) > 200)
        code, seconds = server.stop(signum)
    assert code == 0
    assert seconds < BUDGET_S + 1
    assert missing(load, server) == set()
    events = last_ledger(server)
    assert events["lost"] == {}
    assert events["received"] == events["accepted"] + sum(events["rejected"].values())
    assert events["accepted"] == events["stored"] == len(server.rows("SELECT id FROM llm_traces"))
    # The final push took everything along, once.
    assert set(load.promised) <= set(remote.events)
    assert set(remote.seen.values()) == {1}
    assert server.rows("SELECT id FROM llm_traces WHERE pushed_at IS NULL") == []


def test_a_reload_under_load_loses_nothing_and_goes_on(tmp_path, conf):
    with Gunicorn(tmp_path, conf) as server, Load(server.port) as load:
        wait_until(lambda: len(load.promised) > 100)
        (old,) = server.worker_pids
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.worker_pids and old not in server.worker_pids)
        before = len(load.promised)
        wait_until(lambda: len(load.promised) > before + 100)
        load.stop()
        wait_until(lambda: server.health()["queue_depth"] == 0)
        assert missing(load, server) == set()
        assert_balanced(server.health()["events"])
        assert server.stop()[0] == 0


def test_a_stop_soon_after_a_reload_is_in_time(tmp_path, remote):
    """A worker that has a successor leaves the push to it."""
    remote.answer = remote.hang
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url) as server:
        assert server.post("/v1/events", {"name": "n"})[0] == 202
        (old,) = server.worker_pids
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.worker_pids and old not in server.worker_pids)
        assert remote.headers == []
        code, seconds = server.stop()
    assert code == 0
    assert seconds < BUDGET_S + 1


def test_a_stop_right_after_the_start_is_not_lost(tmp_path, conf):
    """The worker may not have its signal handlers yet."""
    for _ in range(3):
        server = Gunicorn(tmp_path, conf).start()
        wait_until(
            lambda s=server: s.log_path.exists() and "Booting worker" in s.log_path.read_text()
        )
        code, seconds = server.stop()
        assert code == 0
        assert seconds < BUDGET_S + 1
        server.log_path.unlink()


def test_a_hanging_remote_and_a_stalled_upload_do_not_delay_the_exit(tmp_path, remote):
    remote.answer = remote.hang
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url) as server:
        assert server.post("/v1/events", {"name": "n"})[0] == 202
        with socket.create_connection(("127.0.0.1", server.port)) as stalled:
            stalled.sendall(
                b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            time.sleep(0.2)
            code, seconds = server.stop()
    assert code == 0
    assert seconds < BUDGET_S + 1
    assert not (tmp_path / "trace.db-wal").exists()
    assert len(server.rows("SELECT id FROM custom_events WHERE pushed_at IS NULL")) == 1
    assert server.rows("SELECT status FROM push_log") == [{"status": "failed"}]


EVENT = b'{"name":"late"}'
HEAD = (
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(EVENT)
)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_request_in_flight_at_the_stop_is_still_served(tmp_path, signum):
    with Gunicorn(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as late:
            late.sendall(HEAD)
            time.sleep(0.2)  # until a thread has begun to read it
            server.process.send_signal(signum)
            wait_until(lambda: "Handling signal" in server.log_path.read_text())
            time.sleep(0.3)  # longer than gunicorn's own quick stop
            late.sendall(EVENT)
            assert late.recv(100).startswith(b"HTTP/1.1 202")
        assert server.process.wait(10) == 0
    assert server.rows("SELECT name FROM custom_events") == [{"name": "late"}]


def test_a_request_that_comes_through_after_the_drain_gets_no_promise(tmp_path, remote):
    remote.answer = remote.hang  # keeps the stop busy after the drain
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url) as server:
        assert server.post("/v1/events", {"name": "early"})[0] == 202
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as late:
            late.sendall(HEAD)
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: remote.headers)  # the final push has begun
            late.sendall(EVENT)
            assert late.recv(100).startswith(b"HTTP/1.1 503")
        assert server.process.wait(10) == 0
    assert server.rows("SELECT name FROM custom_events") == [{"name": "early"}]


def test_a_short_budget_is_kept(tmp_path, remote):
    remote.answer = remote.hang
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url, TRACE_SHUTDOWN_TIMEOUT="1s") as server:
        assert server.post("/v1/events", {"name": "n"})[0] == 202
        with socket.create_connection(("127.0.0.1", server.port)) as stalled:
            stalled.sendall(HEAD)
            code, seconds = server.stop()
    assert not (tmp_path / "trace.db-wal").exists()
    assert (code, len(server.rows("SELECT id FROM custom_events"))) == (0, 1)
    assert seconds < 2


def test_ctrl_c_reaches_master_and_worker_and_loses_nothing(tmp_path):
    """A terminal sends SIGINT to the whole group; stock gunicorn may deadlock on that."""
    for _ in range(3):
        with Gunicorn(tmp_path) as server, Load(server.port) as load:
            wait_until(lambda load=load: len(load.promised) > 100)
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(10) == 0
        assert missing(load, server) == set()


def test_while_stopping_no_event_is_accepted(tmp_path):
    with Gunicorn(tmp_path) as server, Load(server.port, per_s=1000) as load:
        wait_until(lambda: len(load.promised) > 100)
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGINT)  # an impatient second one
        assert server.process.wait(10) == 0
    assert missing(load, server) == set()
