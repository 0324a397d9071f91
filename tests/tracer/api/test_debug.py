"""/metrics and /debug/ on a service that is built, not started."""

import threading
import tracemalloc

import pytest
from falcon import inspect, testing

from config.settings import load
from tests.support import wait_until
from tests.support.pprof import Decoded
from tracer.api import debug
from tracer.api.app import create_app
from tracer.api.body import BodyReader
from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.metrics import Metrics
from tracer.api.openapi import describe
from tracer.api.otlp import Otlp
from tracer.events import KINDS
from tracer.otlp import Signal, Translator
from tracer.reading import Reader
from tracer.service import Service

PATHS = [
    "/metrics",
    "/debug/vars",
    "/debug/pprof/",
    "/debug/pprof/profile",
    "/debug/pprof/heap",
    "/debug/pprof/threads",
]
UNDESCRIBED = ("/debug/pprof", "/debug/pprof/")
SECRETS = {
    "TRACE_PUSH_ENDPOINT": "https://user:pa55w0rd@remote.example/ingest?token=t0ps3cret",
    "TRACE_PUSH_API_KEY": "pu5hk3y",
    "TRACE_API_KEY": "k3y-of-strangers",
    "TRACE_PUSH_PROXY": "http://u:pr0xyp4ss@proxy.example:3128",
}


@pytest.fixture
def service(tmp_path):
    made = Service(load(SECRETS | {"TRACE_DB_PATH": str(tmp_path / "trace.db")}))
    yield made
    made.heap.stop()


@pytest.fixture
def app(service):
    routes = debug.routes(service.variables, service.profiler, service.heap)
    otlp = {
        signal: Otlp(
            signal,
            Translator(),
            service.decoders,
            service.intake,
            service.ledger,
            reader=BodyReader(1000),
        )
        for signal in Signal
    }
    return create_app(
        Guard(api_key=SECRETS["TRACE_API_KEY"], allowed_hosts=()),
        Health(service.health),
        ingest={},
        otlp=otlp,
        reader=Reader(service.settings.db_path),
        further={"/metrics": Metrics(service.readings), **routes},
    )


@pytest.fixture
def get(app):
    client = testing.TestClient(app)

    def get(path, remote="127.0.0.1", **headers):
        path, _, query = path.partition("?")
        return client.simulate_get(
            path, query_string=query, remote_addr=remote, host="localhost", headers=headers
        )

    return get


def test_every_route_is_described(app):
    described = {
        (path, method.upper())
        for path, operations in describe([kind for kind in KINDS if kind.route])["paths"].items()
        for method in operations
    }
    for route in inspect.inspect_routes(app):
        for method in route.methods:
            if not (method.internal or method.method == "HEAD" or route.path in UNDESCRIBED):
                assert (route.path, method.method) in described


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_it_is_for_strangers(get, path):
    assert get(path, remote="192.0.2.1").status_code == 401
    assert get(path, Origin="https://evil.example").status_code == 403
    assert get(path, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert get(path, **{"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert not tracemalloc.is_tracing()


@pytest.mark.parametrize("path", ["/metrics", "/debug/vars", "/debug/pprof/threads"])
def test_a_token_opens_it(get, path):
    token = {"Authorization": f"Bearer {SECRETS['TRACE_API_KEY']}"}
    assert get(path, remote="192.0.2.1", **token).status_code == 200


def test_metrics_speak_the_format_that_is_asked_for(get):
    plain = get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "openclaw_trace_healthy 0.0" in plain.text
    newer = get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    assert newer.text.endswith("# EOF\n")


def test_variables_are_the_ledger_the_settings_and_the_interpreter(get, service):
    found = get("/debug/vars").json
    assert found["events"] == service.health()["events"]
    assert found["settings"]["TRACE_BATCH_SIZE"] == 50
    assert found["settings"]["TRACE_BIND"] == ["127.0.0.1:9090", "[::1]:9090"]
    assert found["settings"]["TRACE_LOG_PATH"] == ""
    assert "MainThread" in found["runtime"]["threads"]
    assert found["runtime"]["cpu_s"] > 0


def test_no_secret_no_environment_no_arguments(get, monkeypatch):
    monkeypatch.setenv("SOME_VARIABLE", "s0me-value")
    monkeypatch.setattr("sys.argv", ["gunicorn", "--an-argument"])
    said = "".join(get(path).text for path in PATHS if "profile" not in path and "heap" not in path)
    for secret in ("pa55w0rd", "t0ps3cret", "pu5hk3y", "k3y-of", "pr0xyp4ss", "remote.example"):
        assert secret not in said
    assert "s0me-value" not in said
    assert "--an-argument" not in said
    assert get("/debug/vars").json["settings"]["TRACE_API_KEY"] == "(set, not shown)"


def test_a_profile_opens_in_a_reader(get):
    answer = get("/debug/pprof/profile?seconds=1")
    assert answer.headers["content-type"] == "application/octet-stream"
    read = Decoded(answer.content)
    assert read.units == [("samples", "count"), ("cpu", "nanoseconds")]
    assert read.duration_ns >= 1e9


def test_folded_stacks(get):
    ending = threading.Event()

    def burn():
        while not ending.is_set():
            sum(range(2000))

    burner = threading.Thread(target=burn, name="burner")
    burner.start()
    try:
        lines = get("/debug/pprof/profile?seconds=1&format=folded").text.splitlines()
    finally:
        ending.set()
        burner.join()
    stack, _, value = next(line for line in lines if line.startswith("burner;")).rpartition(" ")
    assert "burn (api/test_debug.py:" in stack
    assert int(value) > 0


def test_a_second_profile_is_refused(get, service):
    first = threading.Thread(target=get, args=("/debug/pprof/profile?seconds=30",))
    first.start()
    wait_until(service.profiler._lock.locked)
    answer = get("/debug/pprof/profile?seconds=1")
    service.profiler.end()
    first.join(5)
    assert not first.is_alive()
    assert answer.status_code == 409
    assert "another profile" in answer.json["error"]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "seconds=0",
            "seconds=61",
            "seconds=-1",
            "seconds=1.5",
            "seconds=x",
            "seconds=9999999999",
        ),
        *("format=svg", "second=5", "seconds=%C2%B2", "seconds=1,2"),
    ],
)
def test_what_cannot_be_recorded_is_400(get, query):
    answer = get(f"/debug/pprof/profile?{query}")
    assert answer.status_code == 400
    assert answer.json["error"]


@pytest.mark.parametrize("query", ["action=restart", "frames=0", "limit=0", "format=svg", "x=1"])
def test_a_heap_that_cannot_be_had_is_400(get, query):
    assert get(f"/debug/pprof/heap?{query}").status_code == 400
    assert not tracemalloc.is_tracing()


def test_the_heap_is_traced_on_demand_and_says_what_it_costs(get, service):
    assert get("/debug/pprof/heap").status_code == 409
    assert "until it is stopped" in get("/debug/pprof/heap?action=start").text
    assert "already" in get("/debug/pprof/heap?action=start").text
    kept = bytearray(3_000_000)
    top = get("/debug/pprof/heap?format=json&limit=1").json
    assert top["top"][0]["bytes"] >= len(kept)
    assert len(top["top"]) == 1
    assert "test_debug.py" in get("/debug/pprof/heap").text
    read = Decoded(get("/debug/pprof/heap?format=pprof").content)
    assert read.units[-1] == ("inuse_space", "bytes")
    assert any("being traced" in warning for warning in service.health()["warnings"])
    assert get("/debug/pprof/heap?action=stop").text == "stopped\n"
    assert not tracemalloc.is_tracing()
    assert "not tracing" in get("/debug/pprof/heap?action=stop").text


def test_the_index_names_what_there_is(get):
    text = get("/debug/pprof/").text
    assert all(name in text for name in ("profile", "heap", "threads"))
    assert get("/debug/pprof").text == text
