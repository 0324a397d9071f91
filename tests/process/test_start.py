"""Starting: what is refused, what is survived, what is not done at import."""

import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.support import wait_until
from tests.support.gunicorn import PROJECT, Gunicorn, assert_balanced


def test_importing_the_application_starts_nothing(tmp_path):
    code = (
        "import os, threading\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "import wsgi\n"
        "print(threading.active_count(), len(set(os.listdir('/proc/self/fd')) - before))\n"
    )
    environ = {"PATH": os.environ["PATH"], "TRACE_DB_PATH": str(tmp_path / "x" / "trace.db")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environ, capture_output=True, text=True
    )
    assert run.stdout.split() == ["1", "0"], run.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TRACE_PORT", "many", ["TRACE_PORT", "many", "a port from 1 to 65535"]),
        (
            "GUNICORN_CMD_ARGS",
            "--workers 2",
            ["one worker", "2 were asked for", "GUNICORN_CMD_ARGS"],
        ),
        ("GUNICORN_CMD_ARGS", "-k sync --threads 1", ["worker class", "sync", "-k"]),
    ],
)
def test_a_start_that_is_refused_says_why_in_one_sentence(tmp_path, variable, value, words):
    server = Gunicorn(tmp_path, **{variable: value}).start()
    assert server.process.wait(10) != 0
    ours = [line for line in server.log_path.read_text().splitlines() if "openclaw-trace:" in line]
    assert len(ours) == 1
    for word in words:
        assert word in ours[0]
    assert "Traceback" not in server.log_path.read_text()


def test_web_concurrency_and_ttin_do_not_add_workers(tmp_path):
    with Gunicorn(tmp_path, WEB_CONCURRENCY="3") as server:
        assert len(server.worker_pids) == 1
        server.process.send_signal(signal.SIGTTIN)
        wait_until(lambda: "Handling signal: ttin" in server.log_path.read_text())
        wait_until(server.answers)
        assert len(server.worker_pids) == 1


def test_the_log_is_json_lines_and_names_unknown_settings(tmp_path):
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPONT="x") as server:
        warnings = server.health()["warnings"]
        assert len(warnings) == 1
        assert "TRACE_PUSH_ENDPOINT" in warnings[0]
        server.stop()
        lines = server.log_lines()
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert warnings[0] in [line["message"] for line in lines if line["level"] == "warning"]


def test_secrets_are_in_no_log_line_and_not_in_health(tmp_path, remote):
    remote.answer = 500
    with Gunicorn(
        tmp_path,
        TRACE_LOG_LEVEL="debug",
        TRACE_API_KEY="s3cret-api",
        TRACE_PUSH_API_KEY="s3cret-push",
        TRACE_PUSH_ENDPOINT=f"{remote.url}?token=s3cret-url",
        TRACE_PUSH_INTERVAL="1s",
    ) as server:
        server.post("/v1/events", {"name": "n"})
        wait_until(lambda: server.health()["last_push_status"])
        remote.server.server_close()
        wait_until(lambda: "Refused" in server.health()["last_push_status"], 15)
        assert "s3cret" not in str(server.health())
        server.stop()
        assert "s3cret" not in server.log_path.read_text()
        assert "s3cret" not in str(server.rows("SELECT * FROM push_log"))


def test_a_store_that_cannot_be_opened_keeps_the_service_up_and_explains(tmp_path):
    database = tmp_path / "trace.db"
    database.write_bytes(b"")
    database.unlink()
    database.mkdir()
    server = Gunicorn(tmp_path)
    server.start()
    try:
        wait_until(lambda: try_status(server) == 503, 15)
        health = server.health()
        assert health["status"] == "degraded"
        assert not health["sqlite_ok"]
        assert "is not a file" in health["db_status"]
        status, answer = server.post("/v1/events", {"name": "n"})
        assert status == 503
        assert "is not a file" in answer["errors"][0]["message"]
        assert_balanced(server.health()["events"])
        database.rmdir()
        wait_until(server.answers, 15)
        assert server.post("/v1/events", {"name": "n"})[0] == 202
    finally:
        assert server.stop()[0] == 0


def try_status(server):
    try:
        return server.request("GET", "/health")[0]
    except OSError:
        return None


def test_a_damaged_database_is_reported_as_an_error_event(tmp_path):
    (tmp_path / "trace.db").write_bytes(b"no database " * 1000)
    with Gunicorn(tmp_path) as server:
        wait_until(lambda: server.rows("SELECT * FROM error_events"))
        (event,) = server.rows("SELECT * FROM error_events")
        assert event["error_type"] == "system_error"
        assert "moved aside" in event["message"]
        assert event["metadata"] == '{"source":"sidecar"}'
        assert event["message"] in server.health()["warnings"]
        assert_balanced(server.health()["events"])


def test_a_second_instance_waits_and_takes_over(tmp_path):
    with Gunicorn(tmp_path) as first:
        second = Gunicorn(tmp_path).start()
        try:
            wait_until(lambda: try_status(second) == 503, 15)
            first.stop()
            wait_until(second.answers, 15)
            assert second.post("/v1/events", {"name": "n"}, Prefer="wait")[0] == 200
        finally:
            assert second.stop()[0] == 0


def test_an_address_that_is_taken_is_waited_for(tmp_path):
    server = Gunicorn(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        server.start()
        wait_until(lambda: "cannot listen" in server.log_path.read_text())
        assert server.process.poll() is None
    try:
        wait_until(server.answers)
    finally:
        assert server.stop()[0] == 0


def test_a_stop_while_waiting_for_the_address_ends_at_once(tmp_path):
    server = Gunicorn(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        server.start()
        wait_until(lambda: "cannot listen" in server.log_path.read_text())
        assert server.stop()[0] == 0


def test_files_are_private_and_the_lock_is_held(tmp_path):
    with Gunicorn(tmp_path) as server:
        server.post("/v1/events", {"name": "n"}, Prefer="wait")
        for name in ("trace.db", "trace.db-wal", "trace.db-shm", "trace.db.lock"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        with open(tmp_path / "trace.db.lock", "rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.stop()
    assert not (tmp_path / "trace.db-wal").exists()


def test_health_has_the_fields_of_the_contract(tmp_path):
    with Gunicorn(tmp_path) as server:
        status, _ = server.post("/v1/traces", {"provider": "p", "model": "m"}, Prefer="wait")
        assert status == 200
        health = server.health()
    assert list(health) == [
        "status", "version", "uptime_seconds", "sqlite_ok", "db_status", "db_size_bytes",
        "wal_size_bytes", "disk_percent", "queue_depth", "queue_capacity", "unpushed",
        "last_push_time", "last_push_status", "push_breaker", "events", "workers", "warnings",
    ]  # fmt: skip
    assert health["status"] == "ok"
    assert health["unpushed"] == 1
    assert health["db_size_bytes"] > 0
    assert 0 < health["disk_percent"] <= 100
    assert set(health["workers"]) == {"writer", "sampler", "janitor"}
    assert set(health["workers"]["writer"]) == {"alive", "failures", "last_ok_at"}
    assert health["events"]["rows"] == {
        "stored": 1, "pushed": 0, "unpushed": 1, "refused": 0, "deleted": {},
    }  # fmt: skip
    assert_balanced(health["events"])
