"""OTLP/HTTP: real bodies, right answers, no way to crash or to fill the memory."""

import gzip
import json
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.decoders import decoder_of
from tests.support.gunicorn import PROJECT
from tests.tracer.api.conftest import Api
from tracer.api.otlp import PROTOBUF
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace

CAPTURES = PROJECT / "tests/captures/otlp"
TRACES, LOGS, METRICS = "/v1/traces", "/v1/logs", "/v1/metrics"
ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def api(decoders):
    return Api(decoders, capacity=512, max_body_bytes=8 * 2**20)


def events(api, kind=None):
    """What was accepted, as column → value."""
    records = [pending.record for pending in api.intake._pending]
    return [
        dict(zip(record.kind.stored_columns(), record.row, strict=True))
        for record in records
        if kind in (None, record.kind)
    ]


def value(held):
    if isinstance(held, bool):
        return {"boolValue": held}
    if isinstance(held, int):
        return {"intValue": str(held)}
    if isinstance(held, float):
        return {"doubleValue": held}
    if isinstance(held, list):
        return {"arrayValue": {"values": [value(item) for item in held]}}
    return {"stringValue": held}


def pairs(attributes):
    return [{"key": name, "value": value(held)} for name, held in attributes.items()]


def span(attributes, name="chat m", **fields):
    return {
        "traceId": ID,
        "spanId": SPAN,
        "name": name,
        "kind": 3,
        "startTimeUnixNano": "1795312054000000000",
        "endTimeUnixNano": "1795312055500000000",
        "attributes": pairs(attributes),
        **fields,
    }


def traces(*spans, resource=None):
    group = {
        "resource": {"attributes": pairs(resource or {"service.name": "app"})},
        "scopeSpans": [{"scope": {"name": "lib"}, "spans": list(spans)}],
    }
    return json.dumps({"resourceSpans": [group]}).encode()


CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.system": "openai"}


def test_the_recorded_turn_of_2026_4_29(api):
    """Protobuf: one call with its latency and no tokens, one turn with its tokens."""
    body = (CAPTURES / "otlp-0103-v1_traces.bin").read_bytes()
    answer = api.post(body, media=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == PROTOBUF
    call, usage = events(api, LlmTrace)
    assert (call["latency_ms"], call["ttft_ms"], call["prompt_tokens"]) == (2372, 2039, None)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1234, 56)
    assert (usage["cache_read_tokens"], usage["total_tokens"]) == (200, 1290)
    assert usage["latency_ms"] is None  # that of a turn is no latency of a call
    assert json.loads(usage["metadata"])["turn_duration_ms"] == 321456
    assert {(e["provider"], e["model"]) for e in (call, usage)} == {("labllm", "fake-ok")}
    names = [event["name"] for event in events(api, CustomEvent)]
    assert names == [
        "openclaw.context.assembled",
        "openclaw.liveness.warning",
        "openclaw.run",
        "openclaw.harness.run",
        "openclaw.message.processed",
    ]
    (error,) = events(api, ErrorEvent)
    assert error["severity"] == "warning"
    assert error["otel_trace_id"] == "c38aec0edbc7de19a4f7e3790543b4f4"


@pytest.mark.parametrize(
    ("name", "path", "headers", "count"),
    [
        ("otlp-0003-v1_traces.bin", TRACES, {}, 2),
        ("otlp-0002-v1_logs.bin", LOGS, {}, 1),
        ("otlp-0091-v1_logs.bin", LOGS, {}, 1),
        ("otlp-0001-v1_metrics.bin", METRICS, {}, 0),
        ("js-sdk-v1_traces.json", TRACES, {"media": "application/json; charset=utf-8"}, 1),
        ("js-sdk-v1_traces.bin.gz", TRACES, {"Content_Encoding": "gzip"}, 1),
    ],
)
def test_every_recorded_body_is_taken_and_a_retry_makes_the_same_ids(
    api, name, path, headers, count
):
    body = (CAPTURES / name).read_bytes()
    for _ in range(2):
        assert api.post(body, path, **({"media": PROTOBUF} | headers)).status_code == 200
    ids = [event["trace_id"] for event in events(api)]
    assert len(ids) == 2 * count
    assert ids[:count] == ids[count:]
    assert api.ledger.counts()["rejected"] == {}


GENERATIONS = {
    "A": {
        "gen_ai.system": "vertex_ai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 7,
        "gen_ai.usage.cache_read_input_tokens": 60,
        "gen_ai.usage.cache_creation_input_tokens": 5,
        "gen_ai.usage.reasoning_tokens": 3,
    },
    "B": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "vertex_ai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.output_tokens.reasoning": 3,
    },
    "C": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.vertex_ai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
    },
}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_all_generations_of_names_mean_the_same(api, generation):
    more = {
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.response.finish_reasons": ["stop", "length"],
        "gen_ai.conversation.id": "c-1",
        "gen_ai.usage.cost": 0.5,
        "gen_ai.request.temperature": 0.5,
    }
    assert api.post(traces(span(GENERATIONS[generation] | more))).json == {}
    (call,) = events(api)
    assert call["provider"] == "gcp.vertex_ai"
    tokens = ("prompt", "completion", "cache_read", "cache_write", "reasoning")
    assert [call[f"{name}_tokens"] for name in tokens] == [100, 7, 60, 5, 3]
    assert (call["latency_ms"], call["ttft_ms"], call["cost_usd"]) == (1500, 250, 0.5)
    assert (call["finish_reason"], call["session_id"]) == ("stop,length", "c-1")
    assert (call["otel_trace_id"], call["span_id"], call["status"]) == (ID, SPAN, "success")
    assert call["created_at"] == 1795312054000
    metadata = json.loads(call["metadata"])
    assert metadata["gen_ai.request.temperature"] == 0.5
    assert metadata["otel.resource"] == {"service.name": "app"}


def test_usage_is_a_call_only_where_the_calls_tell_no_tokens(api):
    usage = {"openclaw.provider": "p", "openclaw.model": "m", "openclaw.tokens.input": 10}
    told = usage | {"gen_ai.usage.input_tokens": 10, "gen_ai.operation.name": "chat"}
    new, old = {"process.pid": 2}, {"process.pid": 1}
    # In one body the order does not matter, in later ones it is remembered.
    api.post(
        traces(
            span(told, "openclaw.model.usage", spanId="1" * 16),
            span(told, "openclaw.model.call", spanId="2" * 16),
            resource=new,
        )
    )
    api.post(traces(span(usage, "openclaw.model.usage", traceId="9" * 32), resource=new))
    assert [e["span_id"] for e in events(api, LlmTrace)] == ["2" * 16]
    assert len(events(api, CustomEvent)) == 2
    api.post(traces(span(usage, "openclaw.model.usage", traceId="8" * 32), resource=old))
    assert [e["prompt_tokens"] for e in events(api, LlmTrace)] == [10, 10]


def test_a_turn_of_a_harness_is_a_call_under_any_name(api):
    """OpenClaw 2026.9 with the newest conventions: a turn whose requests it does not see."""
    turn = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 10,
        "openclaw.model_call.observation_unit": "turn",
    }
    api.post(traces(span(turn, "invoke_agent")))
    (call,) = events(api, LlmTrace)
    assert (call["prompt_tokens"], call["latency_ms"]) == (10, None)


def test_openclaw_s_own_counts_exclude_the_cache(api):
    own = {"openclaw.provider": "p", "openclaw.model": "m", "openclaw.tokens.input": 10}
    own |= {"openclaw.tokens.cache_read": 5, "openclaw.tokens.cache_write": 2}
    api.post(traces(span(own, "openclaw.model.usage")))
    assert events(api, LlmTrace)[0]["prompt_tokens"] == 17


def test_agents_tools_and_other_spans_are_events_and_never_priced(api):
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.request.model": "m"}
    spans = [
        span(usage | {"gen_ai.operation.name": "invoke_agent"}, "invoke_agent a"),
        span(
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ls"}, "execute_tool ls"
        ),
        span({"http.request.method": "GET"}, "GET /"),
    ]
    api.post(traces(*spans))
    assert events(api, LlmTrace) == []
    assert [e["name"] for e in events(api)] == ["invoke_agent a", "execute_tool ls", "GET /"]
    assert json.loads(events(api)[1]["metadata"])["gen_ai.tool.name"] == "ls"
    assert events(api)[0]["duration_ms"] == 1500


@pytest.mark.parametrize(
    ("error_type", "message", "status"),
    [
        ("429", "Too Many Requests", "rate_limited"),
        ("RateLimitError", "", "rate_limited"),
        ("timeout", "", "timeout"),
        ("500", "server error", "error"),
    ],
)
def test_a_failed_call_is_a_trace_and_an_error(api, error_type, message, status):
    thrown = {"exception.type": "E", "exception.message": "boom", "exception.stacktrace": "at x"}
    failed = span(
        CALL | {"error.type": error_type},
        status={"code": 2, "message": message},
        events=[{"name": "exception", "attributes": pairs(thrown)}],
    )
    api.post(traces(failed))
    call, error = events(api)
    assert (call["status"], call["error_type"]) == (status, error_type)
    assert (error["error_type"], error["message"]) == ("llm_error", message or "boom")
    assert (error["provider"], error["model"], error["stack_trace"]) == ("openai", "m", "at x")
    assert call["trace_id"] != error["trace_id"]


def test_content_goes_into_its_columns(api):
    messages = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
    api.post(
        traces(span(CALL | {"gen_ai.input.messages": messages, "gen_ai.output.messages": "[]"}))
    )
    event = {"name": "gen_ai.user.message", "attributes": pairs({"content": "older"})}
    choice = {"name": "gen_ai.choice", "attributes": pairs({"message": "reply"})}
    api.post(traces(span(CALL, events=[event, choice])))
    first, second = events(api)
    assert (first["input_text"], first["output_text"]) == (messages, "[]")
    assert (second["input_text"], second["output_text"]) == ("older", "reply")
    assert "hi" not in first["metadata"]


def test_logs_of_warning_and_above_and_named_events(api):
    def record(severity, text, **more):
        return {"timeUnixNano": "1795312054000000000", "severityNumber": severity,
                "body": {"stringValue": text}, **more}  # fmt: skip

    records = [
        record(9, "quiet"),
        record(9, "x", eventName="claude_code.api_request"),
        record(13, "careful"),
        record(17, "broken", traceId=ID, spanId=SPAN),
        record(21, "dead"),
    ]
    group = {"resource": {}, "scopeLogs": [{"logRecords": records}]}
    body = json.dumps({"resourceLogs": [group]}).encode()
    assert api.post(body, LOGS).json == {}
    assert [e.get("name") or e["message"] for e in events(api)] == [
        "claude_code.api_request",
        "log.warning",
        "broken",
        "dead",
    ]
    assert [e["severity"] for e in events(api)] == [None, "warning", "error", "critical"]


def test_counters_of_cost_and_tokens_are_kept_when_they_change(api):
    def metrics(number, time_s, name="openclaw.cost.usd"):
        point = {
            "asDouble": number,
            "timeUnixNano": str((1795312000 + time_s) * 10**9),
            "attributes": pairs({"a": "b"}),
        }
        data = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
        metric = [{"name": name, "unit": "USD", "sum": data}]
        return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metric}]}]}).encode()

    for body in (metrics(1.5, 10), metrics(1.5, 20), metrics(2, 30), metrics(2, 30),
                 metrics(9, 40, "openclaw.queue.depth")):  # fmt: skip
        assert api.post(body, METRICS).status_code == 200
    told = [(json.loads(e["metadata"])["value"], e["created_at"]) for e in events(api)]
    assert told == [(1.5, 1795312010000), (2, 1795312030000), (2, 1795312030000)]
    assert len({e["trace_id"] for e in events(api)}) == 2  # the last one is a retry


def test_a_bad_span_costs_only_itself(api):
    good, bad = span(CALL), span(CALL | {"gen_ai.usage.input_tokens": -5}, spanId="2" * 16)
    answer = api.post(traces(good, bad, {"traceId": 7}))
    assert answer.status_code == 200
    assert answer.json["partialSuccess"]["rejectedSpans"] == "2"
    assert "prompt_tokens" in answer.json["partialSuccess"]["errorMessage"]
    assert len(events(api)) == 1
    counts = api.ledger.counts()
    assert counts["received"] == counts["accepted"] + sum(counts["rejected"].values()) == 3


def test_partial_success_in_protobuf(api):
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

    request = service.ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=bytes.fromhex(ID), span_id=bytes.fromhex(SPAN), name="good")
    bomb = spans.add(trace_id=bytes.fromhex(ID), span_id=b"12345678", name="bad")
    for number in range(3000):
        bomb.attributes.add(key=f"k{number}")
    answer = api.post(request.SerializeToString(), media=PROTOBUF)
    assert answer.status_code == 200
    told = service.ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_spans == 1
    assert "attributes" in told.error_message


@pytest.mark.parametrize("path", [TRACES, LOGS, METRICS])
def test_an_empty_request_is_a_success(api, path):
    assert api.post(b"", path, media=PROTOBUF).status_code == 200
    if path != TRACES:
        assert api.post(b"{}", path).json == {}
    assert api.post(b'{"resourceSpans":[]}', TRACES).json == {}


def test_a_plain_event_that_mentions_otlp_is_still_plain(api):
    plain = json.dumps({"provider": "p", "model": "m", "input_text": '"resourceSpans"'}).encode()
    assert api.post(plain).status_code == 202


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"\x0a\x05ab", PROTOBUF, 400),
        (b'{"resourceSpans":7}', "application/json", 400),
        (b'{"resourceSpans":[', "application/json", 400),
        (b"x", "text/plain", 415),
    ],
)
def test_bad_bodies_are_refused_in_their_encoding(api, body, media, status):
    answer = api.post(body, media=media)
    assert answer.status_code == status
    assert (answer.headers["content-type"] == PROTOBUF) == (media == PROTOBUF)
    assert sum(api.ledger.counts()["rejected"].values()) == 1


def test_a_full_queue_says_send_again(decoders):
    api = Api(decoders, capacity=4, max_body_bytes=10**6)
    for number in range(4):
        api.post(traces(span(CALL, spanId=f"{number + 1:016x}")))
    answer = api.post(traces(span(CALL, spanId="f" * 16)))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    api.intake.close()
    assert api.post(traces(span(CALL))).status_code == 503


def length(number):
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def field(number, value):
    return bytes([number << 3 | 2]) + length(len(value)) + value


def in_request(span_bytes):
    return field(1, field(2, field(2, span_bytes)))


def deep(levels):
    held = b""
    for _ in range(levels):
        held = field(5, field(1, held))
    return in_request(field(9, field(1, b"k") + field(2, held)))


NESTED = b'{"arrayValue":{"values":[' * 5000
BOMBS = {
    "a million attributes": (in_request(b"\x4a\x00" * 10**6), PROTOBUF),
    "a million spans": (field(1, field(2, b"\x12\x00" * 10**6)), PROTOBUF),
    "a million groups": (b"\x0a\x00" * 10**6, PROTOBUF),
    "deep protobuf": (deep(2000), PROTOBUF),
    "deep JSON": (b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":' + NESTED,
                  "application/json"),
    "a million JSON attributes": (
        traces(span({})).replace(b'"attributes": []', b'"attributes":[' + b"{}," * 10**6 + b"{}]"),
        "application/json",
    ),
    "two million JSON spans": (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 2 * 10**6 + b"{}]}]}]}",
        "application/json",
    ),
    "a million numbers": (b'{"resourceSpans":[' + b"0," * 10**6 + b"0]}", "application/json"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_bounded_memory(api, name):
    body, media = BOMBS[name]
    tracemalloc.start()
    try:
        answer = api.post(body, media=media)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code in (400, 413), answer.content
    assert peak < 64 * 2**20
    assert events(api) == []


def test_a_gzip_bomb_is_refused(api):
    answer = api.post(gzip.compress(b"\0" * 10**8), media=PROTOBUF, Content_Encoding="gzip")
    assert answer.status_code == 413


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(CAPTURES.iterdir())))
def test_no_damaged_body_is_a_server_error(chance: random.Random, path):
    decoders = {kind: decoder_of(kind, max_text_bytes=999) for kind in KINDS}
    api = Api(decoders, capacity=512, max_body_bytes=10**6)
    body = bytearray(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    )
    for _ in range(chance.randint(1, 5)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    del body[chance.choice([len(body), chance.randrange(len(body))]) :]
    route = "/v1/" + path.name.split("v1_")[1].split(".")[0]
    media = "application/json" if path.suffix == ".json" else PROTOBUF
    assert api.post(bytes(body), route, media=media).status_code in (200, 202, 400, 413)
    counts = api.ledger.counts()
    assert counts["accepted"] == counts["queued"]
