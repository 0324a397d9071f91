"""Read back with the official messages, by a collector of a few lines."""

import json

import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

from tests.support.remote import reply
from tracer.breaker import Breaker
from tracer.encoders import otlp
from tracer.encoders.otlp_metrics import metrics_of
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.outbox import all_of
from tracer.push import Push
from tracer.remote import Remote

TRACE_ID, SPAN_ID, PARENT = (
    "0af7651916cd43dd8448eb211c80319c",
    "b7ad6b7169203331",
    "00f067aa0ba902b7",
)
CALL = {
    "trace_id": TRACE_ID,
    "span_id": SPAN_ID,
    "parent_span_id": PARENT,
    "timestamp": 1_795_000_000_000,
    "provider": "anthropic",
    "model": "claude",
    "input_text": "hi",
    "prompt_tokens": 12,
    "cost_usd": 0.5,
    "latency_ms": 1500.5,
    "ttft_ms": 250,
    "status": "rate_limited",
    "finish_reason": "stop,length",
    "session_id": "s",
    "run_id": "r",
    "metadata": {"a": [1]},
}


def read(attributes):
    found = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        found[attribute.key] = (
            [item.string_value for item in value.values] if kind == "array_value" else value
        )
    return found


def insert(store, decoders, kind, *events):
    store.insert(
        [
            decoders[kind].decode(json.dumps(event).encode(), 7000 + n)
            for n, event in enumerate(events)
        ]
    )


def encode(store, kinds, **changes):
    options = {"agent_id": "agent-1", "sent_at": 9, "dropped": {}, "max_bytes": 10**6} | changes
    return otlp.encode_batch(store.outbox.rows(all_of(kinds)), **options)


def test_a_call_is_a_client_span_with_the_names_of_the_conventions(store, decoders):
    insert(store, decoders, LlmTrace, CALL)
    batch = encode(store, [LlmTrace], dropped={"shutdown": 2})
    assert (batch.path, batch.content_type) == ("/v1/traces", "application/x-protobuf")
    (resource_spans,) = trace_service.ExportTraceServiceRequest.FromString(
        batch.body
    ).resource_spans
    assert read(resource_spans.resource.attributes) == {
        "service.name": "openclaw-trace",
        "service.instance.id": "agent-1",
    }
    scope = resource_spans.scope_spans[0].scope
    assert read(scope.attributes) == {"openclaw_trace.dropped.shutdown": 2}
    (span,) = resource_spans.scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (
        TRACE_ID,
        SPAN_ID,
        PARENT,
    )
    assert (span.name, span.kind, span.status.code) == ("chat claude", 3, 2)
    assert span.start_time_unix_nano == 1_795_000_000_000 * 10**6
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_500_000
    attributes = read(span.attributes)
    assert json.loads(attributes.pop("openclaw_trace.metadata")) == {"a": [1]}
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude",
        "gen_ai.prompt": "hi",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.conversation.id": "s",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.response.finish_reasons": ["stop", "length"],
        "error.type": "rate_limited",
        "openclaw_trace.cost_usd": 0.5,
        "openclaw_trace.cost_source": "agent",
        "openclaw_trace.run_id": "r",
        "openclaw_trace.agent_id": "agent-1",
        **{k: v for k, v in attributes.items() if k == "openclaw_trace.total_tokens"},
    }


def test_a_call_without_ids_of_opentelemetry_gets_some_that_stay_the_same(store, decoders):
    insert(store, decoders, LlmTrace, {"provider": "p", "model": "m"})
    bodies = {bytes(encode(store, [LlmTrace]).body) for _ in range(2)}
    assert len(bodies) == 1
    request = trace_service.ExportTraceServiceRequest.FromString(bodies.pop())
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert (len(span.trace_id), len(span.span_id), span.parent_span_id) == (16, 8, b"")
    assert any(span.span_id)


def test_errors_and_events_are_log_records(store, decoders):
    error = {
        "error_type": "crash",
        "message": "boom",
        "severity": "critical",
        "stack_trace": "at x",
    }
    insert(store, decoders, ErrorEvent, error)
    insert(store, decoders, CustomEvent, {"name": "gateway.start", "duration_ms": 5})
    batch = encode(store, [ErrorEvent, CustomEvent])
    assert batch.path == "/v1/logs"
    (resource_logs,) = logs_service.ExportLogsServiceRequest.FromString(batch.body).resource_logs
    records = {
        record.body.string_value: record for record in resource_logs.scope_logs[0].log_records
    }
    assert records["boom"].severity_number == 21
    about = read(records["boom"].attributes)
    assert about["exception.stacktrace"] == "at x"
    assert about["error.type"] == "crash"
    assert len(about["log.record.uid"]) == 36
    assert records["gateway.start"].event_name == "gateway.start"
    assert read(records["gateway.start"].attributes)["openclaw_trace.duration_ms"] == 5


def test_bodies_stay_under_the_limit_and_a_larger_row_goes_alone(store, decoders):
    insert(store, decoders, CustomEvent, *[{"name": "n", "x": "x" * 500}] * 50)
    batch = encode(store, [CustomEvent], max_bytes=9000)
    assert batch.has_more
    assert 5000 < len(batch.body) <= 9000
    assert len(encode(store, [CustomEvent], max_bytes=10).rows) == 1


def test_rows_of_another_signal_wait_for_their_own_batch(store, decoders):
    """As after a change of the format, when an intent of the other one is left."""
    insert(store, decoders, LlmTrace, CALL)
    insert(store, decoders, CustomEvent, {"name": "n"})
    batch = encode(store, KINDS)
    assert [kind for kind, _ in batch.rows] == [LlmTrace]
    assert batch.has_more


def test_samples_have_the_names_of_the_conventions():
    columns = {
        "created_at": 20_000,
        "received_at": 20_000,
        "interval_ms": 15_000,
        "trace_id": "x",
        "cpu_percent": 50.0,
        "mem_used_bytes": 7,
        "mem_scope": "host",
        "net_rx_bytes": 9,
        "gateway_up": 1,
    }
    metrics = {metric.name: metric for metric in metrics_of("system_metric", columns)}
    assert set(metrics) == {
        "system.cpu.utilization",
        "system.memory.usage",
        "system.network.io",
        "openclaw_trace.gateway_up",
    }
    assert metrics["system.cpu.utilization"].gauge.data_points[0].as_double == 0.5
    usage = metrics["system.memory.usage"].sum
    assert (usage.is_monotonic, usage.data_points[0].as_int) == (False, 7)
    assert read(usage.data_points[0].attributes) == {
        "openclaw_trace.mem_scope": "host",
        "system.memory.state": "used",
    }
    received = metrics["system.network.io"].sum
    assert (received.is_monotonic, received.aggregation_temporality) == (True, 1)
    (point,) = received.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5_000 * 10**6, 20_000 * 10**6)


@pytest.mark.parametrize(("began_at", "expected"), [(-5, 0), (253_402_300_799_999, 2**64 - 1)])
def test_a_time_beyond_those_of_the_format_is_the_nearest(store, decoders, began_at, expected):
    """A clock before 1970 plus a second, or after 2554: an error would end every pass there."""
    if began_at > 0:
        event = {"timestamp": began_at, "latency_ms": 5}
        insert(store, decoders, LlmTrace, {"provider": "p", "model": "m", **event})
        insert(store, decoders, ErrorEvent, {"error_type": "crash", "message": "m", **event})
        batch = encode(store, [LlmTrace])
        request = trace_service.ExportTraceServiceRequest.FromString(batch.body)
        (span,) = request.resource_spans[0].scope_spans[0].spans
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (expected, expected)
        batch = encode(store, [ErrorEvent])
        request = logs_service.ExportLogsServiceRequest.FromString(batch.body)
        (record,) = request.resource_logs[0].scope_logs[0].log_records
        assert record.time_unix_nano == expected
    columns = {"created_at": began_at, "interval_ms": 1, "net_errors": 1}
    (metric,) = metrics_of("system_metric", columns)
    (point,) = metric.sum.data_points
    assert point.time_unix_nano == point.start_time_unix_nano == expected


def test_a_process_is_told_by_its_attributes():
    columns = {
        "created_at": 1,
        "pid": 7,
        "name": "node",
        "cpu_percent": 10.0,
        "rss_bytes": 5,
        "is_gateway": 1,
    }
    metrics = {metric.name: metric for metric in metrics_of("process_metric", columns)}
    assert set(metrics) == {"process.cpu.utilization", "process.memory.usage"}
    about = read(metrics["process.memory.usage"].sum.data_points[0].attributes)
    assert about["process.pid"] == 7
    assert about["process.executable.name"] == "node"


@pytest.fixture
def push(store, remote):
    breaker = Breaker(threshold=5, interval_s=30)
    return Push(
        store,
        Remote(remote.url.removesuffix("ingest")),
        otlp,
        breaker,
        lambda job: job(store),
        agent_id="agent-1",
        max_bytes=9000,
        timeout_s=5,
    )


def test_a_pass_sends_each_signal_to_its_path_until_nothing_is_left(store, decoders, remote, push):
    insert(store, decoders, LlmTrace, *[{"provider": "p", "model": "m"}] * 100)
    insert(store, decoders, CustomEvent, *[{"name": "n"}] * 100)
    remote.answer = lambda handler, body: reply(handler, 200)
    assert push.run_once() is None
    assert store.row_counts["pushed"] == 200
    assert {headers["path"] for headers in remote.headers} == {"/v1/traces", "/v1/logs"}
    spans = [
        span
        for headers, body in zip(remote.headers, remote.bodies, strict=True)
        if headers["path"] == "/v1/traces"
        for span in trace_service.ExportTraceServiceRequest.FromString(body)
        .resource_spans[0]
        .scope_spans[0]
        .spans
    ]
    assert len({span.span_id for span in spans}) == 100


def test_a_collector_without_logs_gets_the_spans_all_the_same(store, decoders, remote, push):
    insert(store, decoders, CustomEvent, {"name": "n"})
    remote.answer = lambda handler, body: reply(handler, 200 if "traces" in handler.path else 404)
    for _ in range(3):
        insert(store, decoders, LlmTrace, {"provider": "p", "model": "m"})
        assert push.run_once() is not None
    assert (store.row_counts["pushed"], store.row_counts["unpushed"]) == (3, 1)
    assert push.breaker.state == "open"


def test_partial_success_is_noted_and_not_sent_again(store, decoders, remote, push):
    insert(store, decoders, LlmTrace, *[{"provider": "p", "model": "m"}] * 3)
    answer = trace_service.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old: Bearer abcdef1234567890"
    remote.answer = lambda handler, body: reply(handler, 200, answer.SerializeToString())
    assert push.run_once() is None
    assert store.row_counts["unpushed"] == 0
    log = store._database.execute_sql("SELECT status, error_message FROM push_log").fetchall()
    ((status, why),) = log
    assert status == "success"
    assert why.startswith("the collector rejected 2 of 3: too old")
    assert "abcdef1234567890" not in why


@pytest.mark.parametrize("answer", [b"", b"{}", b"\xff\xff", b"OK"])
def test_other_answers_mean_nothing(answer):
    batch = otlp.Batch("b", b"", [], False, "/v1/logs")
    assert otlp.partial_failure(batch, answer) is None


def test_an_answer_that_is_lost_sends_the_same_bytes_again(store, decoders, remote, push):
    insert(store, decoders, CustomEvent, {"name": "n"})
    remote.answer = 503
    push.run_once()
    insert(store, decoders, CustomEvent, {"name": "later"})
    push.run_once()
    assert remote.bodies[0] == remote.bodies[1]
