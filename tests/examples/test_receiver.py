import http.client
import json

import pytest

from tests.support.receiver import Receiver
from tracer.answer import Outcome
from tracer.breaker import Breaker
from tracer.encoders import native
from tracer.encoders.batch import Batch
from tracer.events import CustomEvent, LlmTrace
from tracer.push import Push
from tracer.remote import Remote


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path, "--key", "k3y") as running:
        yield running


@pytest.fixture
def push(store, receiver):
    remote = Remote(receiver.url, api_key="k3y", gzip_bodies=True)
    breaker = Breaker(threshold=5, interval_s=30)
    return Push(
        store,
        remote,
        native,
        breaker,
        lambda job: job(store),
        agent_id="agent-1",
        max_bytes=50000,
        timeout_s=5,
    )


def test_it_keeps_every_pushed_event_once_with_all_its_fields(store, decoders, push, receiver):
    shared = "0d6ff9a4-5a3c-4d5b-9a55-5f2d1c7c1a11"
    call = {"trace_id": shared, "provider": "p", "model": "é", "metadata": {"a": [1]}}
    store.insert([decoders[LlmTrace].decode(json.dumps(call).encode(), 1000)])
    event = {"trace_id": shared, "name": "n"}
    store.insert([decoders[CustomEvent].decode(json.dumps(event).encode(), 1000)])
    assert push.run_once() is None
    store._database.execute_sql("UPDATE llm_traces SET pushed_at = NULL")
    store.row_counts = {**store.row_counts, "unpushed": 1}
    assert push.run_once() is None
    rows = receiver.rows("SELECT type, trace_id, agent_id, times, data FROM events ORDER BY type")
    assert [row[:4] for row in rows] == [
        ("custom_event", shared, "agent-1", 1),
        ("llm_trace", shared, "agent-1", 2),
    ]
    assert json.loads(rows[1][4])["metadata"] == {"a": [1]}
    assert json.loads(rows[1][4])["model"] == "é"
    assert receiver.summary()["llm_trace"] == {"events": 1, "came_again": 1}


def test_without_the_key_nothing_is_stored(receiver):
    client = Remote(receiver.url, api_key="wrong")
    answer = client.send(Batch("b", b'{"events":[]}', [], False), 5)
    client.close()
    assert (answer.outcome, answer.http_status) == (Outcome.MISCONFIGURED, 401)
    assert receiver.counts() == (0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"events":[3]}', b'{"events":3}'])
def test_what_is_no_batch_gets_a_400(receiver, body):
    port = int(receiver.url.split(":")[2].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/ingest", body, {"Authorization": "Bearer k3y"})
    assert connection.getresponse().status == 400
    connection.close()


def test_an_event_without_identity_is_rejected_and_its_neighbours_kept(receiver):
    events = [{"type": "t", "data": {"trace_id": "a"}}, {"type": "t", "data": {}}]
    client = Remote(receiver.url, api_key="k3y")
    body = json.dumps({"events": events}).encode()
    assert client.send(Batch("b", body, [], False), 5).outcome is Outcome.CONFIRMED
    client.close()
    assert receiver.counts() == (1, 1)
