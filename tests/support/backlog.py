"""A database with rows that wait to be pushed, as a sidecar leaves it after an outage."""

import json
import uuid

from tests.support.decoders import decoder_of
from tracer.events import CustomEvent, LlmTrace
from tracer.store import Store
from tracer.timestamps import now_ms

BATCH = 500


def fill(path, *, calls, samples=0, text_bytes=0):
    """Makes the database at `path`; the trace ids in it. Samples stand in for rows of metrics."""
    received_at = now_ms() - calls - samples
    decoders = {kind: decoder_of(kind, is_redacting=False) for kind in (LlmTrace, CustomEvent)}
    call = {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "prompt_tokens": 1234,
        "completion_tokens": 56,
        "latency_ms": 2372.5,
        "session_id": str(uuid.UUID(int=7)),
        "input_text": "What is the weather in Lisbon today? ".ljust(text_bytes, "é")[:text_bytes],
    }
    sample = {"name": "sample", "metadata": {f"value_{n}": n / 7 for n in range(30)}}
    texts = {LlmTrace: json.dumps(call).encode(), CustomEvent: json.dumps(sample).encode()}
    kinds = [LlmTrace] * calls
    if samples:
        kinds = [k for n in range(calls) for k in _beside(n, calls, samples)]
    store = Store(path, synchronous="normal")
    store.open()
    trace_ids = []
    try:
        for start in range(0, len(kinds), BATCH):
            records = [
                decoders[kind].decode(texts[kind], received_at + start)
                for kind in kinds[start : start + BATCH]
            ]
            assert store.insert(records).stored == len(records)
            trace_ids += [record.trace_id for record in records]
    finally:
        store.close()
    return trace_ids


def _beside(number, calls, samples):
    """A call, and as many samples as are due by then."""
    due = (number + 1) * samples // calls - number * samples // calls
    return [LlmTrace, *[CustomEvent] * due]
