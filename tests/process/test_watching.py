"""The sidecar watched while it runs, in a real gunicorn."""

import os
import subprocess
import sys
import threading
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support import wait_until
from tests.support.gunicorn import PROJECT, Gunicorn
from tests.support.pprof import Decoded


def read(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=20) as answer:
        return answer.read()


def scrape(server):
    families = text_string_to_metric_families(read(server, "/metrics").decode())
    return {s.name: s.value for family in families for s in family.samples}


def test_what_is_scraped_is_what_health_says(tmp_path):
    call = {"provider": "p", "model": "m", "prompt_tokens": 7, "trace_id": f"{1:032x}"}
    with Gunicorn(tmp_path, TRACE_METRICS_INTERVAL="1s") as server:
        for _ in range(2):  # the second is a retry
            assert server.post("/v1/traces", call, Prefer="wait")[0] == 200
        wait_until(lambda: "openclaw_trace_host_cpu_ratio" in scrape(server))
        found, health = scrape(server), server.health()
    assert found["openclaw_trace_events_duplicate_total"] == 1
    assert found["openclaw_trace_llm_calls_total"] == 1
    assert found["openclaw_trace_healthy"] == 1
    assert found["openclaw_trace_queue_capacity_events"] == health["queue_capacity"]
    assert found["openclaw_trace_database_size_bytes"] > 0


def test_what_is_optional_is_not_loaded_before_it_is_asked_for():
    code = "import sys, wsgi; print({'prometheus_client', 'tracemalloc'} & set(sys.modules))"
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environ, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


def test_a_stop_ends_a_profile_early_and_in_time(tmp_path):
    answers = []
    with Gunicorn(tmp_path) as server:
        recording = threading.Thread(
            target=lambda: answers.append(read(server, "/debug/pprof/profile?seconds=60"))
        )
        recording.start()
        wait_until(lambda: b"record" in read(server, "/debug/pprof/threads"))
        assert server.post("/v1/traces", {"provider": "p", "model": "m"})[0] == 202
        code, seconds = server.stop()
        recording.join(5)
        rows = server.rows("SELECT id FROM llm_traces")
    assert code == 0
    assert seconds < 3
    assert len(rows) == 1
    assert Decoded(answers[0]).duration_ns < 10e9


def test_nothing_is_left_running_after_a_profile(tmp_path):
    with Gunicorn(tmp_path) as server:
        (pid,) = server.worker_pids
        read(server, "/debug/pprof/profile?seconds=1")
        stacks = read(server, "/debug/pprof/threads").decode()
        assert "in record" not in stacks
        assert server.worker_pids == [pid]
