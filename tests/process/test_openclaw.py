"""What a real gateway reports goes through real gunicorn to a real remote, unchanged."""

import json
import uuid

import pytest

from tests.support import sample, wait_until
from tests.support.forwarder import call_of, error_of, event_of
from tests.support.gunicorn import Gunicorn, assert_balanced
from tracer.identity import NAMESPACE


@pytest.fixture(scope="module")
def captured():
    return sample.captured()


def expected_trace_id(kind, event):
    pair = f"32:{event['trace']['traceId']}:{event['trace']['spanId']}"
    return str(uuid.uuid5(NAMESPACE, f"{kind}:{pair}"))


def test_every_field_of_every_event_arrives_once(tmp_path, remote, captured):
    calls = [e for e in captured if e["type"] in ("model.call.completed", "model.call.error")]
    failed = [e for e in calls if e["type"] == "model.call.error"]
    others = [e for e in captured if e not in calls]
    assert len(calls) >= 2
    assert failed
    assert len(others) > 20
    with Gunicorn(
        tmp_path,
        TRACE_PUSH_ENDPOINT=remote.url,
        TRACE_PUSH_INTERVAL="1s",
        TRACE_AGENT_ID="gateway-1",
    ) as server:
        for _ in range(2):  # a retry of all of it stores nothing
            for event in calls:
                assert server.post("/v1/traces", call_of(event))[0] == 202
            for event in failed:
                assert server.post("/v1/errors", error_of(event))[0] == 202
        lines = "\n".join(json.dumps(event_of(event)) for event in others).encode()
        status, answer = server.post("/v1/events", lines, Content_Type="application/x-ndjson")
        assert (status, answer["accepted"]) == (202, len(others))
        total = len(calls) + len(failed) + len(others)
        wait_until(lambda: server.health()["events"]["rows"]["pushed"] == total, 20)
        events = server.health()["events"]
        assert events["duplicate"] == len(calls) + len(failed)
        assert_balanced(events)

    assert len(remote.events) == total
    assert set(remote.seen.values()) == {1}
    by_kind = {
        kind: {
            e["data"]["trace_id"]: e["data"] for e in remote.events.values() if e["type"] == kind
        }
        for kind in ("llm_trace", "error_event", "custom_event")
    }
    for event in calls:
        sent = call_of(event)
        got = by_kind["llm_trace"][expected_trace_id("llm_trace", event)]
        assert got["otel_trace_id"] == sent.pop("trace_id")
        assert got["created_at"] == sent.pop("timestamp")
        assert got["metadata"] == sent.pop("metadata") | {"api": sent.pop("api")}
        assert got["agent_id"] == "gateway-1"
        assert got["cost_source"] == "agent"
        for name, value in sent.items():
            assert got[name] == value, name
    for event in failed:
        sent = error_of(event)
        got = by_kind["error_event"][expected_trace_id("error_event", event)]
        assert (got["message"], got["model"]) == (sent["message"], sent["model"])
    names = sorted(data["name"] for data in by_kind["custom_event"].values())
    assert names == sorted(event["type"] for event in others)
    metadata = {
        json.dumps(data["metadata"], sort_keys=True) for data in by_kind["custom_event"].values()
    }
    assert metadata == {json.dumps(event, sort_keys=True) for event in others}
    # The database says the same as the remote.
    for kind, table in (("llm_trace", "llm_traces"), ("error_event", "error_events")):
        for row in server.rows(f"SELECT * FROM {table}"):
            pushed = by_kind[kind][row["trace_id"]]
            for name, value in pushed.items():
                stored = json.loads(row[name]) if name == "metadata" else row[name]
                assert stored == value
