"""The push of a running sidecar, seen from outside: `/health`, the push log, the log."""

import json
import os
import subprocess
import sys

from tests.support import wait_until
from tests.support.gunicorn import PROJECT, Gunicorn, assert_balanced
from tests.support.receiver import Receiver
from tests.support.remote import answering

EVENT = {"name": "n"}


def test_the_circuit_and_its_reason_are_shown_and_no_secret_is(tmp_path, remote):
    remote.answer = answering(403, b"token=s3cret k3y")
    with Gunicorn(
        tmp_path,
        TRACE_PUSH_ENDPOINT=f"{remote.url}?token=s3cret",
        TRACE_PUSH_API_KEY="k3y",
        TRACE_PUSH_INTERVAL="200ms",
        TRACE_LOG_LEVEL="debug",
    ) as server:
        assert server.health()["push_breaker"] == "closed"
        assert server.post("/v1/events", EVENT)[0] == 202
        wait_until(lambda: server.health()["push_breaker"] == "open")
        health = server.health()
        assert health["status"] == "ok"
        assert health["unpushed"] == 1
        (warning,) = health["warnings"]
        assert "circuit is open, nothing is given up" in warning
        assert "the remote answered 403: check TRACE_PUSH_API_KEY" in warning
        assert (
            health["last_push_status"]
            == "failed: the remote answered 403: check TRACE_PUSH_API_KEY"
        )
        wait_until(lambda: len(remote.headers) >= 3)  # it goes on asking
        (reason,) = server.rows("SELECT DISTINCT error_message AS e FROM push_log")
        assert "403" in reason["e"]
        remote.answer = 200
        wait_until(lambda: server.health()["push_breaker"] == "closed")
        health = server.health()
        assert (health["unpushed"], health["warnings"]) == (0, [])
        assert_balanced(health["events"])
        everything = json.dumps([health, server.rows("SELECT * FROM push_log")])
    for text in (everything, server.log_path.read_text()):
        assert "s3cret" not in text
        assert "k3y" not in text


def test_plain_http_over_the_internet_starts_warns_and_pushes_nothing(tmp_path):
    """It is no reason not to start, and the rows are kept for when it is mended."""
    url = "http://user:pass@api.example.com/ingest?token=s3cret"
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=url, TRACE_PUSH_INTERVAL="200ms") as server:
        health = server.health()
        assert health["status"] == "ok"
        assert "use https://" in health["warnings"][0]
        assert server.post("/v1/events", EVENT)[0] == 202
        wait_until(lambda: server.health()["push_breaker"] == "open")
        assert server.health()["unpushed"] == 1
        code, _ = server.stop()
    assert code == 0
    log = server.log_path.read_text()
    assert "use https://" in log
    assert "example.com" not in log


def test_refused_rows_are_in_the_ledger_and_the_others_arrive(tmp_path, remote):
    remote.answer = remote.refuse(lambda event: event["data"]["name"] == "bad")
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url, TRACE_PUSH_INTERVAL="200ms") as server:
        events = [{"name": "bad" if n == 3 else "good"} for n in range(10)]
        assert server.post("/v1/events", events)[0] == 202
        wait_until(lambda: server.health()["events"]["rows"]["refused"] == 1)
        wait_until(lambda: server.health()["unpushed"] == 0)
        assert_balanced(server.health()["events"])
        assert server.rows("SELECT push_error FROM custom_events WHERE push_error NOT NULL") == [
            {"push_error": "the remote answered 400"}
        ]
    assert len(remote.events) == 9


def test_the_receiver_of_the_readme_gets_everything(tmp_path):
    with (
        Receiver(tmp_path, "--key", "k3y") as receiver,
        Gunicorn(
            tmp_path,
            TRACE_PUSH_ENDPOINT=receiver.url,
            TRACE_PUSH_API_KEY="k3y",
            TRACE_PUSH_INTERVAL="200ms",
            TRACE_PUSH_GZIP="on",
        ) as server,
    ):
        for _ in range(3):
            assert server.post("/v1/events", [EVENT] * 100)[0] == 202
        wait_until(lambda: receiver.counts() == (300, 300))
        wait_until(lambda: server.health()["unpushed"] == 0)
        assert server.health()["push_breaker"] == "closed"


def test_a_try_that_the_stop_cuts_short_is_in_the_push_log(tmp_path, remote):
    remote.answer = remote.hang
    with Gunicorn(
        tmp_path,
        TRACE_PUSH_ENDPOINT=remote.url,
        TRACE_PUSH_INTERVAL="100ms",
        TRACE_SHUTDOWN_TIMEOUT="2s",
    ) as server:
        assert server.post("/v1/events", EVENT)[0] == 202
        wait_until(lambda: remote.headers)
        assert server.stop()[0] == 0
        assert server.rows("SELECT status, attempt, error_message AS why FROM push_log") == [
            {
                "status": "failed",
                "attempt": 1,
                "why": "cut short by the stop, before a complete answer",
            }
        ]
        assert "did not end in time" not in server.log_path.read_text()


def test_otlp_goes_to_the_paths_of_a_collector(tmp_path, remote):
    remote.answer = answering(200)
    base = remote.url.removesuffix("/ingest")
    with Gunicorn(
        tmp_path,
        TRACE_PUSH_ENDPOINT=base,
        TRACE_PUSH_FORMAT="otlp",
        TRACE_PUSH_INTERVAL="200ms",
    ) as server:
        assert server.post("/v1/traces", {"provider": "p", "model": "m"})[0] == 202
        assert server.post("/v1/events", EVENT)[0] == 202
        wait_until(lambda: server.health()["events"]["rows"]["pushed"] == 2)
    assert {headers["path"] for headers in remote.headers} == {"/v1/traces", "/v1/logs"}
    assert {headers["Content-Type"] for headers in remote.headers} == {"application/x-protobuf"}


def test_what_only_a_push_needs_is_not_loaded_at_the_start():
    """6 and 4 MB."""
    code = (
        "import sys, wsgi; print([m for m in sys.modules if m in ('requests', 'google.protobuf')])"
    )
    environ = {"PATH": os.environ["PATH"], "TRACE_PUSH_ENDPOINT": "http://127.0.0.1:1/"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
