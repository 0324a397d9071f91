import json

import pytest

from tracer.encoders import batch, native
from tracer.events import KINDS, CustomEvent, LlmTrace
from tracer.outbox import all_of


def encode(store, **changes):
    options = {"agent_id": "agent-1", "sent_at": 99, "dropped": {}, "max_bytes": 10**6} | changes
    return native.encode_batch(store.outbox.rows(all_of(KINDS)), **options)


@pytest.fixture
def filled(store, decoders):
    def add(count, size=10):
        text = json.dumps({"name": "n", "metadata": {"x": "é" * size}}).encode()
        store.insert([decoders[CustomEvent].decode(text, 1000) for _ in range(count)])
        return store

    return add


def test_the_envelope_is_that_of_the_contract(store, decoders):
    event = {
        "provider": "p",
        "model": "m",
        "latency_ms": 2,
        "metadata": {"a": [1, None]},
        "timestamp": 5000,
    }
    record = decoders[LlmTrace].decode(json.dumps(event).encode(), 7000)
    store.insert([record])
    encoded = encode(store, dropped={"shutdown": 2})
    assert json.loads(encoded.body) == {
        "schema_version": 1,
        "batch_id": encoded.batch_id,
        "agent_id": "agent-1",
        "sent_at": 99,
        "dropped": {"shutdown": 2},
        "events": [
            {
                "type": "llm_trace",
                "data": {
                    "trace_id": record.trace_id,
                    "created_at": 5000000,
                    "received_at": 7000,
                    "agent_id": "agent-1",
                    "provider": "p",
                    "model": "m",
                    "operation": "chat",
                    "latency_ms": 2,
                    "status": "success",
                    "metadata": {"a": [1, None]},
                },
            }
        ],
    }
    assert encoded.rows == [(LlmTrace, 1)]


def test_nothing_to_send_is_no_batch(store):
    assert encode(store) is None


def test_bodies_stay_under_the_limit(filled):
    store = filled(50, size=500)
    encoded = encode(store, max_bytes=20000)
    assert len(encoded.body) <= 20000
    assert len(encoded.body) > 10000
    assert encoded.rows == [(CustomEvent, n + 1) for n in range(len(encoded.rows))]
    assert len(json.loads(encoded.body)["events"]) == len(encoded.rows)


def test_a_single_larger_row_goes_alone(filled):
    encoded = encode(filled(2, size=50000), max_bytes=20000)
    assert len(encoded.rows) == 1


def test_the_number_of_events_is_bounded(filled, monkeypatch):
    monkeypatch.setattr(batch, "MAX_BATCH_EVENTS", 7)
    assert len(encode(filled(20)).rows) == 7


def test_the_same_rows_have_the_same_batch_id_others_another(filled):
    store = filled(3)
    first = encode(store)
    assert encode(store, sent_at=100, dropped={"shutdown": 1}).batch_id == first.batch_id
    filled(1)
    assert encode(store).batch_id != first.batch_id


def test_a_call_and_an_error_with_one_id_make_different_batches(store, decoders):
    """A remote that knows the batch id would drop the second."""
    shared = '"trace_id":"0d6ff9a4-5a3c-4d5b-9a55-5f2d1c7c1a11"'
    ids = set()
    for kind, rest in ((LlmTrace, '"provider":"p","model":"m"'), (CustomEvent, '"name":"n"')):
        store.insert([decoders[kind].decode(f"{{{shared},{rest}}}".encode(), 1)])
        rows = store.outbox.rows({kind: (0, 9)})
        ids.add(
            native.encode_batch(rows, agent_id="a", sent_at=1, dropped={}, max_bytes=9).batch_id
        )
    assert len(ids) == 2
