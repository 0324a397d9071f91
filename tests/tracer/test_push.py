import json
import threading
import time
from collections import Counter
from email.utils import formatdate

import pytest

from tests.support.remote import answering, reset
from tracer import retention
from tracer.breaker import Breaker
from tracer.encoders import native
from tracer.events import CustomEvent, ErrorEvent, LlmTrace
from tracer.ledger import Deletion
from tracer.push import Push
from tracer.remote import Remote

ROWS = "SELECT trace_id, pushed_at, push_error FROM llm_traces ORDER BY id"


@pytest.fixture
def make(store, remote, monkeypatch):
    """Makes a push from the store to the remote; the test's thread is the writer."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)  # the longest wait

    def make_push(encoder=native, **options):
        values = {"agent_id": "agent-1", "max_bytes": 40000, "timeout_s": 5} | options
        breaker = Breaker(threshold=3, interval_s=30)
        return Push(store, Remote(remote.url), encoder, breaker, lambda job: job(store), **values)

    return make_push


@pytest.fixture
def push(make):
    return make()


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


@pytest.fixture
def fill_calls(store, decoders):
    """Adds calls numbered in `run_id`, from 0."""

    def add(count, **fields):
        first = len(query(store, ROWS))
        for n in range(first, first + count):
            body = {"provider": "p", "model": "m", "run_id": str(n), **fields}
            store.insert([decoders[LlmTrace].decode(json.dumps(body).encode(), 1000 + n)])

    return add


def query(store, sql):
    return store._database.execute_sql(sql).fetchall()


def log(store, columns="status, http_status, events_pushed, attempt, error_message"):
    return query(store, f"SELECT {columns} FROM push_log")


def numbers(*bad):
    """Whether an event is one of these calls."""
    return lambda event: int(event["data"]["run_id"]) in bad


def refused(store):
    sql = "SELECT CAST(run_id AS INTEGER) FROM llm_traces WHERE push_error IS NOT NULL"
    return [row[0] for row in query(store, sql)]


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
    assert remote.connections == 1


def test_with_nothing_to_send_the_remote_is_left_alone(push, remote, store):
    assert push.run_once() is None
    assert remote.headers == []
    assert log(store) == []


# Outcomes


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_keeps_everything_and_backs_off(push, store, remote, fill, status):
    fill(1)
    remote.answer = status
    assert [push.run_once() for _ in range(4)] == [1, 2, 30, 30]  # the circuit opened
    assert push.breaker.state == "open"
    assert store.row_counts["unpushed"] == 3
    words = f"the remote answered {status}"
    assert push.last_status == f"failed: {words}"
    opened = f"{words}; the circuit is open"
    reasons = [words, words, opened, opened]
    assert log(store) == [("failed", status, 0, n + 1, why) for n, why in enumerate(reasons)]
    assert len({headers["Idempotency-Key"] for headers in remote.headers}) == 1
    assert len(set(remote.bodies)) == 1  # the same batch to the last byte
    remote.answer = 200
    assert push.run_once() is None
    assert (push.breaker.state, push.breaker.failed_passes) == ("closed", 0)
    assert len(remote.events) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 405, 301, 302, 303, 307, 308, 410])
def test_wrong_configuration_opens_the_circuit_at_once_and_keeps_everything(
    push, store, remote, fill, status
):
    fill(2)
    remote.answer = answering(status, Location=remote.url + "/elsewhere")
    assert push.run_once() == 30
    assert push.breaker.state == "open"
    (warning,) = push.breaker.warnings()
    assert f"answered {status}" in warning
    assert "check TRACE_PUSH_" in warning
    assert store.row_counts["unpushed"] == 6
    assert [headers["path"] for headers in remote.headers] == ["/ingest"]
    assert log(store, "status, http_status") == [("failed", status)]


def test_an_open_circuit_sends_one_batch_per_pass_and_drains_after_a_good_one(
    push, remote, store, fill
):
    fill(100)
    remote.answer = 401
    push.run_once()
    push.run_once()
    assert len(remote.headers) == 2
    seen = []
    remote.answer = lambda handler, body: (
        seen.append(push.breaker.state),
        remote.do(200, handler, body),
    )
    assert push.run_once() is None
    assert seen[:2] == ["half_open", "closed"]
    assert store.row_counts["unpushed"] == 0


@pytest.mark.parametrize("status", [400, 409, 422])
def test_bad_rows_are_found_and_set_aside_and_the_rest_goes_on(
    push, store, remote, fill_calls, status
):
    fill_calls(100)
    remote.answer = remote.refuse(numbers(0, 17, 18, 99), status)
    assert push.run_once() is None
    assert refused(store) == [0, 17, 18, 99]
    assert len(remote.events) == 96
    assert set(remote.seen.values()) == {1}
    assert store.row_counts == {"stored": 100, "unpushed": 0, "pushed": 96, "refused": 4}
    reasons = {row[2] for row in query(store, ROWS) if row[2]}
    assert reasons == {f"the remote answered {status}"}
    assert {row[0] for row in log(store)} == {"success", "refused"}
    assert push.breaker.state == "closed"


def test_one_poison_row_among_a_thousand_takes_at_most_30_requests(make, store, remote, fill_calls):
    fill_calls(1000)
    remote.answer = remote.refuse(numbers(333))
    assert make(max_bytes=5 * 2**20).run_once() is None
    assert refused(store) == [333]
    assert len(remote.headers) <= 30


@pytest.mark.parametrize("status", [400, 422, 413])
def test_a_remote_that_refuses_everything_sets_nothing_aside(push, store, remote, fill, status):
    fill(300)
    remote.answer = status
    assert push.run_once() == 30
    first = len(remote.headers)
    assert first <= 20
    assert push.breaker.state == "open"
    assert "whatever it was sent" in push.breaker.reason
    for _ in range(5):
        push.run_once()
    # While the circuit is open the newest row of each kind probes, nothing larger.
    assert len(remote.headers) <= first + 5 * 3
    assert max(len(body) for body in remote.bodies[first:]) < 1000
    assert store.row_counts == {"stored": 900, "unpushed": 900}
    assert query(store, ROWS)[0][1:] == (None, None)
    remote.answer = 200
    assert push.run_once() is None
    assert len(remote.events) == 900
    assert push.breaker.state == "closed"


def test_a_remote_that_begins_to_refuse_everything_amid_a_pass_sets_nothing_aside(
    push, store, remote, fill
):
    fill(100)
    remote.answer = remote.in_turn(200, 400)
    push.run_once()
    assert "refused" not in store.row_counts
    assert 0 < store.row_counts["unpushed"] < 300


def test_a_search_is_no_news_for_the_log(push, remote, fill_calls, caplog):
    fill_calls(100)
    remote.answer = remote.refuse(numbers(3, 50, 90))
    with caplog.at_level("INFO", "tracer.push"):
        push.run_once()
        push.run_once()
    lines = [record.getMessage() for record in caplog.records]
    assert lines.pop(0) == "push: success"
    assert len(lines) <= 3
    assert all("refuses" in line for line in lines)


def test_a_batch_that_may_have_arrived_goes_before_the_probes(push, store, remote, fill_calls):
    fill_calls(40)
    remote.answer = 400
    push.run_once()  # from now on the newest rows probe
    remote.answer = remote.cut_after_storing
    push.run_once()
    fill_calls(1)
    remote.answer = 200
    assert push.run_once() is None
    assert remote.batches[0] == remote.batches[1]
    assert len(remote.events) == 41


def test_many_bad_rows_at_the_front_do_not_block_the_rest(push, store, remote, fill_calls):
    fill_calls(150)
    remote.answer = remote.refuse(lambda event: int(event["data"]["run_id"]) < 60)
    assert push.run_once() is None
    assert refused(store) == list(range(60))
    assert len(remote.events) == 90


def test_a_lone_bad_row_waits_for_company(push, store, remote, fill_calls):
    fill_calls(1)
    remote.answer = remote.refuse(numbers(0))
    assert push.run_once() == 30
    assert refused(store) == []
    fill_calls(1)
    assert push.run_once() is None
    assert refused(store) == [0]
    assert len(remote.events) == 1


def test_too_large_is_halved_down_to_the_row_that_is(make, store, remote, fill_calls):
    fill_calls(10)
    fill_calls(1, input_text="x" * 9000)
    fill_calls(10)

    def limit(handler, body):
        remote.do(413 if len(body) > 6000 else 200, handler, body)

    remote.answer = limit
    assert make(max_bytes=10**6).run_once() is None
    assert refused(store) == [10]
    assert len(remote.events) == 20


def test_a_good_answer_may_reject_rows(push, store, remote, fill_calls):
    fill_calls(5)
    rows = [row[0] for row in query(store, ROWS)]
    body = json.dumps({"rejected": [{"trace_id": rows[3], "reason": "too old"}]}).encode()
    remote.answer = answering(200, body)
    assert push.run_once() is None
    assert refused(store) == [3]
    assert query(store, ROWS)[3][2] == "rejected: too old"
    assert store.row_counts == {"stored": 5, "unpushed": 0, "pushed": 4, "refused": 1}
    assert log(store)[0][:3] == ("success", 200, 4)


def test_a_remote_that_is_back_with_a_bad_row_in_front_is_no_dead_end(
    push, store, remote, fill_calls
):
    """The probe of an open circuit is refused, which still is a sign of life."""
    fill_calls(20)
    remote.answer = 503
    for _ in range(4):
        push.run_once()
    assert push.breaker.state == "open"
    remote.answer = remote.refuse(numbers(0))
    assert push.run_once() is None
    assert refused(store) == [0]
    assert push.breaker.state == "closed"


# Waiting


@pytest.mark.parametrize(
    ("value", "shortest", "longest"),
    [
        ("120", 120, 120),
        ("999999999999", 3600, 3600),
        ("junk", 1, 1),
        (formatdate(time.time() - 99, usegmt=True), 1, 1),
        (formatdate(time.time() + 1000, usegmt=True), 900, 1000),
    ],
    ids=["seconds", "huge", "junk", "past", "date"],
)
def test_retry_after_is_obeyed_also_by_the_last_push(push, remote, fill, value, shortest, longest):
    fill(1)
    remote.answer = answering(503, Retry_After=value)
    assert shortest <= push.run_once() <= longest
    remote.answer = 200
    if shortest > 1:
        push.finish(time.monotonic() + 5)
        assert push.run_once() > shortest - 5
        assert len(remote.headers) == 1
    else:
        push.finish(time.monotonic() + 5)
        assert len(remote.headers) == 2


def test_a_remote_that_flaps_gets_everything_once(push, store, remote, fill):
    fill(100)
    remote.answer = remote.in_turn(*[200, 503] * 20, 200)
    for _ in range(20):
        push.run_once()
    assert store.row_counts["unpushed"] == 0
    assert set(remote.seen.values()) == {1}


# At least once


def test_a_pass_that_fails_in_the_middle_does_not_send_confirmed_rows_again(
    push, store, remote, fill
):
    fill(100)
    remote.answer = remote.in_turn(200, 500)
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
    remote.answer = remote.cut_after_storing
    push.run_once()
    fill(1)  # what arrives meanwhile goes with the next batch
    remote.answer = 200
    push.run_once()
    first, again, rest = remote.batches
    assert first == again
    assert len(rest["events"]) == 3
    assert sorted(remote.seen.values()) == [1] * 3 + [2] * 6
    assert store.row_counts["unpushed"] == 0


def test_so_does_a_crash_before_the_answer_was_noted(make, store, remote, fill):
    """Also when more has arrived since, and losses, and the size of a batch was changed."""

    def crash(job):
        raise SystemExit

    fill(2)
    push = make()
    begin = push._write
    push._write = lambda job: (begin(job), setattr(push, "_write", crash))[0]
    with pytest.raises(SystemExit):
        push.run_once()
    assert len(remote.events) == 6
    store.close()
    store.open()
    fill(1)
    store.count_lost("shutdown", 1)
    make(max_bytes=10**6).run_once()
    first, again, rest = remote.batches
    assert first == again
    assert remote.bodies[0] == remote.bodies[1]
    assert (len(rest["events"]), rest["dropped"]) == (3, {"shutdown": 1})
    assert store.row_counts["unpushed"] == 0


def test_a_crash_in_the_middle_of_a_search_sends_the_part_again_under_its_id(
    make, store, remote, fill_calls
):
    fill_calls(8)
    remote.answer = remote.in_turn(400, remote.cut_after_storing)
    make().run_once()
    remote.answer = 200
    make().run_once()
    assert [len(batch["events"]) for batch in remote.batches] == [4, 4, 4]
    assert remote.batches[0] == remote.batches[1]


def test_rows_deleted_meanwhile_do_not_come_back(push, store, remote, fill_calls):
    fill_calls(3)
    remote.answer = 503
    push.run_once()
    query(store, "DELETE FROM llm_traces WHERE run_id = '1'")
    remote.answer = 200
    assert push.run_once() is None
    assert len(remote.events) == 2
    assert remote.headers[0]["Idempotency-Key"] != remote.headers[1]["Idempotency-Key"]
    query(store, "DELETE FROM llm_traces")
    fill_calls(1)
    remote.answer = 503
    push.run_once()
    query(store, "DELETE FROM llm_traces")
    fill_calls(1)
    remote.answer = 200
    assert push.run_once() is None
    assert len(remote.events) == 3


def test_rows_read_before_a_reopening_are_not_sent(push, store, remote, fill_calls):
    fill_calls(2)
    begin = push._write

    def reopen_first(job):
        store.generation += 1
        return begin(job)

    push._write = reopen_first
    with pytest.raises(Exception, match="opened anew"):
        push.run_once()
    assert remote.headers == []


def test_losses_are_told_once_also_after_a_restart(make, store, remote, fill):
    store.count_lost("shutdown", 2)
    fill(1)
    remote.answer = remote.in_turn(reset, 200)
    push = make()
    push.run_once()
    push.run_once()
    fill(1)
    make().run_once()
    assert [batch["dropped"] for batch in remote.batches] == [{"shutdown": 2}, {}]


# When to end


def test_a_pass_ends_though_events_keep_arriving(push, store, remote, fill):
    fill(1)
    deliver = push._write
    push._write = lambda job: (fill(1), deliver(job))[1]
    assert push.run_once() is None
    assert len(remote.batches) == 1
    assert store.row_counts["unpushed"] > 0


def test_after_the_end_no_request_is_begun(push, remote, fill):
    fill(1)
    push.end_by(0)
    push.run_once()
    assert remote.headers == []


def test_past_its_deadline_a_pass_sends_nothing_more(push, store, remote, fill):
    fill(1)
    push.run_once(by=0)
    assert remote.headers == []
    assert store.row_counts["unpushed"] == 3


def test_the_last_push_is_over_in_time_whatever_the_remote_does(push, store, remote, fill):
    fill(1)
    remote.answer = remote.trickle_body
    started = time.monotonic()
    push.finish(started + 0.8)
    assert time.monotonic() - started < 1.2
    assert log(store, "status") == [("failed",)]


def test_a_pass_that_the_stop_cuts_short_leaves_time_to_note_it(push, store, remote, fill):
    fill(1)
    remote.answer = remote.hang
    by = time.monotonic() + 0.6
    threading.Timer(0.1, push.end_by, [by]).start()
    push.run_once()
    assert time.monotonic() < by
    assert log(store, "status") == [("failed",)]


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
