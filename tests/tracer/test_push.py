import json
from collections import Counter

import pytest

from tracer import retention
from tracer.events import CustomEvent, ErrorEvent, LlmTrace
from tracer.ledger import Deletion, Ledger, Loss
from tracer.push import Push
from tracer.remote import Remote


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def push(store, remote, ledger):
    """Pushes from the store to the remote; the test's thread is the writer."""
    return Push(
        store,
        Remote(remote.url),
        ledger,
        lambda job: job(store),
        agent_id="agent-1",
        max_bytes=50000,
        timeout_s=5,
    )


@pytest.fixture
def fill(store, decoders):
    def add(count):
        bodies = {
            LlmTrace: {"provider": "p", "model": "m", "input_text": "x" * 400},
            ErrorEvent: {"error_type": "crash", "message": "m"},
            CustomEvent: {"name": "n"},
        }
        for kind, body in bodies.items():
            text = json.dumps(body).encode()
            store.insert([decoders[kind].decode(text, 1000 + n) for n in range(count)])

    return add


def log(store):
    return store._database.execute_sql(
        "SELECT status, http_status, events_pushed, attempt, error_message FROM push_log"
    ).fetchall()


def test_a_pass_goes_on_until_nothing_is_left(push, store, remote, fill):
    fill(100)
    assert push.run_once() is None
    assert len(remote.events) == 300
    assert set(remote.seen.values()) == {1}
    assert len(remote.batches) > 2
    assert Counter(event["type"] for event in remote.events.values()) == {
        "llm_trace": 100,
        "error_event": 100,
        "custom_event": 100,
    }
    assert store.row_counts == {"stored": 300, "unpushed": 0, "pushed": 300}
    assert push.last_status == "success"
    assert sum(row[2] for row in log(store)) == 300
    assert len({batch["batch_id"] for batch in remote.batches}) == len(remote.batches)


def test_with_nothing_to_send_the_remote_is_left_alone(push, remote, store):
    assert push.run_once() is None
    assert remote.headers == []
    assert log(store) == []


def test_a_failed_pass_keeps_everything_and_backs_off_with_full_jitter(
    push, store, remote, fill, monkeypatch
):
    fill(1)
    remote.answer = 503
    longest = []
    monkeypatch.setattr("random.uniform", lambda low, high: longest.append(high) or high)
    waits = [push.run_once() for _ in range(12)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 300
    assert store.row_counts["unpushed"] == 3
    assert push.failed_passes == 12
    assert push.last_status == "failed: the remote answered 503"
    assert log(store)[2] == ("failed", 503, 0, 3, "the remote answered 503")
    remote.answer = 200
    assert push.run_once() is None
    assert push.failed_passes == 0
    assert len(remote.events) == 3


def test_a_pass_that_fails_in_the_middle_does_not_send_confirmed_rows_again(
    push, store, remote, fill
):
    fill(100)

    def fail_second(handler, body):
        remote.answer = 500
        remote.keep(body)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    remote.answer = fail_second
    assert push.run_once() is not None
    assert 0 < len(remote.events) < 300
    remote.answer = 200
    push.run_once()
    assert len(remote.events) == 300
    assert set(remote.seen.values()) == {1}


def test_an_answer_lost_after_storing_sends_the_same_batch_with_the_same_id(
    push, store, remote, fill
):
    fill(2)

    def store_and_hang_up(handler, body):
        remote.keep(body)
        handler.close_connection = True

    remote.answer = store_and_hang_up
    push.run_once()
    fill(1)  # what arrives meanwhile goes with the next batch
    remote.answer = 200
    push.run_once()
    first, again, rest = remote.batches
    assert first["batch_id"] == again["batch_id"]
    assert first["events"] == again["events"]
    assert len(rest["events"]) == 3
    assert sorted(remote.seen.values()) == [1] * 3 + [2] * 6
    assert store.row_counts["unpushed"] == 0


def test_a_pass_ends_though_events_keep_arriving(push, store, remote, fill):
    fill(1)

    deliver = push._write
    push._write = lambda job: (fill(1), deliver(job))
    assert push.run_once() is None
    assert len(remote.batches) == 1
    assert store.row_counts["unpushed"] == 3


def test_after_the_end_no_request_is_begun(push, remote, fill):
    fill(1)
    push.end_by(0)
    push.run_once()
    assert remote.headers == []


def test_losses_are_told_once(push, remote, ledger, fill):
    ledger.accept(2)
    ledger.settle(0, 0, 2, Loss.SHUTDOWN)
    fill(1)
    push.run_once()
    fill(1)
    push.run_once()
    assert [batch["dropped"] for batch in remote.batches] == [{"shutdown": 2}, {}]


def test_past_its_deadline_a_pass_sends_nothing_more(push, store, remote, fill):
    fill(1)
    push.run_once(by=0)
    assert remote.headers == []
    assert store.row_counts["unpushed"] == 3


def test_deleted_rows_are_told_with_the_next_confirmed_batch(push, store, remote, fill):
    fill(10)
    doomed = retention.Doomed(LlmTrace, 1, 4, False)
    retention.delete(store, doomed, Deletion.SIZE, store.generation)
    remote.answer = 503
    push.run_once()
    remote.answer = 200
    push.run_once()
    assert remote.batches[0]["dropped"] == {"size_unpushed": 4}
    fill(1)
    push.run_once()
    assert remote.batches[-1]["dropped"] == {}
