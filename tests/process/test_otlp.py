"""The official OpenTelemetry SDK and exporters against a real sidecar, and its memory under bombs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.gunicorn import PROJECT, Gunicorn, assert_balanced

SCRIPT = PROJECT / "tests/process/otel_sdk_app.py"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_python_sdk_is_understood_in_old_and_new_conventions(tmp_path, compression):
    """600 spans are more than the queue holds; what the SDK sends twice is stored once."""
    with Gunicorn(tmp_path) as server:
        environ = {
            "PATH": "/usr/bin:/bin",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
            "OTEL_SERVICE_NAME": "agent",
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPT)], env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr  # a 429 meanwhile is sent again
        said = json.loads(done.stdout)
        wait_until(lambda: server.health()["events"]["queued"] == 0)
        calls = server.rows("SELECT * FROM llm_traces ORDER BY created_at, id")
        assert len(calls) == said["calls"] == 603
        assert {c["prompt_tokens"] for c in calls} == {100}
        assert {c["provider"] for c in calls} == {"openai", "gcp.vertex_ai"}
        assert {c["cache_write_tokens"] for c in calls[:2]} == {5}
        failed = [c for c in calls if c["status"] != "success"]
        assert [c["status"] for c in failed] == ["rate_limited"]
        (error,) = server.rows("SELECT * FROM error_events WHERE error_type = 'llm_error'")
        assert error["message"] == "RateLimitError: slow down"
        assert "Traceback" in error["stack_trace"]
        assert error["otel_trace_id"] == failed[0]["otel_trace_id"]
        names = [r["name"] for r in server.rows("SELECT name FROM custom_events ORDER BY name")]
        assert names == [
            "execute_tool ls",
            "gen_ai.client.token.usage",
            "invoke_agent a",
            "log.warning",
        ]
        events = server.health()["events"]
        assert events["lost"] == {}
        assert set(events["rejected"]) <= {"queue_full"}  # answered 429, and sent again
        assert events["duplicate"] == said["sent_twice"] > 0
        assert_balanced(events)


def test_protobuf_is_imported_at_the_first_such_request_and_bombs_fit(tmp_path):
    bomb = b"\x4a\x00" * 500_000  # the largest item that is parsed: a million bytes
    bomb = _field(1, _field(2, _field(2, bomb)))
    with Gunicorn(tmp_path) as server:
        server.post("/v1/traces", {"provider": "p", "model": "m"})
        (worker,) = server.worker_pids
        maps = Path(f"/proc/{worker}/maps")
        assert "google/_upb" not in maps.read_text()
        before = _peak_kib(worker)
        for _ in range(3):
            connection_status = _post(server, bomb)
            assert connection_status in (400, 413)
        assert "google/_upb" in maps.read_text()
        assert _peak_kib(worker) - before < 80 * 1024


def _field(number, value):
    size, encoded = len(value), bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *encoded, size]) + value


def _post(server, body):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
    status = connection.getresponse().status
    connection.close()
    return status


def _peak_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
