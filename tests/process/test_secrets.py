"""No secret gets into the database, the log, a pushed batch or an answer, by whatever way it came."""

import json

import pytest

from tests.support import wait_until
from tests.support.gunicorn import Gunicorn
from tests.support.secrets import MARKS, SECRETS
from tracer.events import KINDS
from tracer.fields import Text


def seeded(kind, secret):
    """An event with the secret in each of its texts and all over its metadata."""
    event = {f.wire_name: secret for f in kind.wire_fields() if isinstance(f, Text)}
    event["metadata"] = {
        secret: "as a name",
        "value": secret,
        "deep": [{"deeper": [secret, {"password": secret}]}],
        "headers": {"Authorization": [secret], "cookie": {"sid": secret}},
        "body": json.dumps({"text": secret, "api_key": secret}),
    }
    return event | {"unknown": secret, "unheard": {"of": secret}}


def test_secrets_on_every_way_in_are_found_nowhere(tmp_path, remote):
    secret = SECRETS["jwt"]
    endpoint = f"{remote.url}?token=q8vT1xXyLw0"
    environ = {
        "TRACE_PUSH_ENDPOINT": endpoint,
        "TRACE_PUSH_INTERVAL": "1s",
        "TRACE_API_KEY": secret,
        "TRACE_LOG_LEVEL": "debug",
    }
    with Gunicorn(tmp_path, **environ) as server:
        headers = {"Authorization": f"Bearer {secret}", "X_Api_Key": secret, "Cookie": secret}
        sent = 0
        for kind in (kind for kind in KINDS if kind.route):
            events = [seeded(kind, secret) for secret in SECRETS.values()]
            status, answer = server.request("POST", kind.route, events, Prefer="wait", **headers)
            assert (status, answer["errors"]) == (200, [])
            assert not any(mark in str(answer) for mark in MARKS)
            sent += len(events)
            _, answer = server.request("POST", kind.route, {"message": secret, "severity": secret})
            assert not any(mark in str(answer) for mark in MARKS)
            server.request("POST", f"{kind.route}/{secret}", {"message": secret})
        for secret in SECRETS.values():
            call = {"provider": secret, "model": secret, "prompt_tokens": 1}
            server.request("POST", "/v1/traces", call, Prefer="wait")
            sent += 1
        wait_until(lambda: len(remote.events) == sent)
        kept = {
            "health": json.dumps(server.request("GET", "/health")[1]),
            "pushed": json.dumps(remote.batches),
            **{
                path.name: path.read_bytes().decode(errors="replace")
                for path in tmp_path.iterdir()
                if path.is_file()
            },
        }
    kept["log at the end"] = server.log_path.read_text()
    assert "trace.db" in kept
    assert "trace.db-wal" in kept
    found = {(place, mark) for place, text in kept.items() for mark in MARKS if mark in text}
    assert found == set()
    assert "[REDACTED:jwt]" in kept["pushed"]


def test_redaction_can_be_switched_off(tmp_path):
    with Gunicorn(tmp_path, TRACE_REDACT="off") as server:
        event = {"name": "n", "metadata": {"password": "q8vT1xXyLw0"}}
        server.request("POST", "/v1/events", event, Prefer="wait")
        (row,) = server.rows("SELECT metadata FROM custom_events")
    assert json.loads(row["metadata"]) == event["metadata"]


@pytest.mark.parametrize("name", ["TRACE_API_KEY", "TRACE_PUSH_API_KEY", "TRACER_PUSH_API_KEY"])
def test_secrets_leave_the_environment_once_read(name, monkeypatch):
    import os

    from config import settings

    monkeypatch.setenv(name, "q8vT1xXyLw0")
    settings.current.cache_clear()
    try:
        read = settings.current()
        assert "q8vT1xXyLw0" in (read.api_key, read.push_api_key)
        assert "q8vT1xXyLw0" not in os.environ.values()
        assert settings.secret_environ[name] == "q8vT1xXyLw0"
    finally:
        settings.current.cache_clear()
        settings.secret_environ.clear()
