"""Whatever is sent: no server error, no growth, and a ledger that adds up. `make fuzz` sends more."""

import os
import socket
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.process.test_rude import resident_mb
from tests.support.gunicorn import Gunicorn, assert_balanced

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
load_all_checks()
NOT_OURS = CHECKS.get_by_names(
    [
        "negative_data_rejection",  # unknown fields are kept, numbers may come as text
        "positive_data_acceptance",  # integers of unknown members must fit 64 bits
        "unsupported_method",  # 405 without Allow for what no router knows
        "ignored_auth",  # a caller on this machine needs no token
    ]
)
NOT_FUZZED = {"/debug/pprof/profile", "/debug/pprof/heap"}  # take as long, and as much, as is asked
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Gunicorn(tmp_path_factory.mktemp("fuzz"), TRACE_QUEUE_CAPACITY="2000") as running:
        for _ in range(50):
            running.request("POST", "/v1/events", {"name": "n", "metadata": {"a": [1]}})
            running.request("POST", "/v1/errors", {"error_type": "crash", "message": "x"})
            running.request("POST", "/v1/traces", {"provider": "p", "model": "m", "ttft_ms": 1})
        (worker,) = running.worker_pids
        before_mb = resident_mb(worker, "VmRSS:")
        yield running
        assert running.worker_pids == [worker], "the worker died"
        assert resident_mb(worker, "VmRSS:") - before_mb < 20
        health = running.health()
        assert_balanced(health["events"])
        assert health["events"]["rejected"].get("internal", 0) == 0
        assert all(state["failures"] == 0 for state in health["workers"].values())
    assert "Traceback" not in running.log_path.read_text()


@pytest.fixture(scope="module")
def schema(server):
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    return schemathesis.openapi.from_url(url)


def test_the_description_is_openapi(server):
    document = server.request("GET", "/openapi.json")[1]
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    for path in document["paths"].values():
        assert all(operation["operationId"] for operation in path.values())


@pytest.mark.parametrize("mode", GenerationMode)
def test_what_the_description_allows_and_forbids_is_answered_as_it_says(schema, mode):
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in NOT_FUZZED:
            continue

        @FUZZ
        @given(operation.as_strategy(generation_mode=mode))
        def answer(case):
            nonlocal tried
            tried += 1
            case.call_and_validate(headers={"Host": "localhost"}, excluded_checks=NOT_OURS)

        has_input = operation.definition.raw.keys() & {"parameters", "requestBody"}
        if mode is GenerationMode.POSITIVE or has_input:
            answer()
    assert tried > EXAMPLES


REQUEST = (
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 12\r\n\r\n{"name":"n"}'
)
CHUNKED = (
    b"POST /v1/errors HTTP/1.1\r\nHost: [::1]:9090\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n4\r\n\x1f\x8b\x08\x00\r\n0\r\n\r\n"
)
PARTS = st.sampled_from(
    [b"\r\n", b"\n", b"\x00", b" ", b":", b"\xff\xfe", b"HTTP/9.9", b"Content-Length: 99999999999",
     b"Transfer-Encoding: identity", b"Content-Length: -1", b"Host: evil", b"Expect: 100-continue",
     b"0\r\n\r\n", b"A" * 9000, b"Connection: close", b"Upgrade: h2c", b"\r\nX: " * 200]
)  # fmt: skip


@FUZZ
@given(
    st.sampled_from([REQUEST, CHUNKED]),
    st.lists(
        st.tuples(st.integers(0, 250), st.integers(0, 20), PARTS | st.binary(max_size=20)),
        max_size=4,
    ),
)
def test_malformed_http_is_refused_or_served(server, request_, edits):
    sent = request_
    for place, cut, part in edits:
        sent = sent[:place] + part + sent[place + cut :]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        with suppress(OSError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(OSError):
            while received := client.recv(65536):
                answer += received
    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    assert not [
        status for status in statuses if status[:1] == b"5" and status not in (b"501", b"505")
    ]


@FUZZ
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from(
        ["application/json", "application/x-ndjson", "text/plain", "application/x-protobuf"]
    ),
    st.sampled_from(["/v1/traces", "/v1/errors", "/v1/events", "/health", "/openapi.json", "/x"]),
    st.sampled_from(["identity", "gzip"]),
)
def test_any_body_is_answered_without_a_server_error(server, body, media, path, encoding):
    headers = {"Content_Type": media, "Content_Encoding": encoding}
    status, _ = server.request("POST", path, body, **headers)
    assert status < 500
