import threading
import time

import pytest

from tracer.decoder import Record
from tracer.events import CustomEvent
from tracer.intake import OLDEST_PENDING_S, Intake, NotTaken, Receipt
from tracer.ledger import Ledger, Rejection


def records(count, size_bytes=100):
    return [Record(CustomEvent, (str(n),), size_bytes) for n in range(count)]


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def intake(ledger):
    made = Intake(ledger, capacity=10, max_bytes=1000, batch_size=4)
    made.admit()
    return made


def refusal(intake, offered):
    with pytest.raises(NotTaken) as error:
        intake.offer(offered)
    return error.value.reason


def take(intake):
    return intake.take(not_before=0, timeout_s=0)


def test_what_was_taken_stays_until_it_is_settled(intake, ledger):
    intake.offer(records(6))
    first = take(intake)
    assert take(intake) == first
    assert [record.trace_id for record in first] == ["0", "1", "2", "3"]
    intake.settle(4, stored=2, lost=[1])
    assert len(intake) == 2
    counts = ledger.counts()
    assert (counts["stored"], counts["duplicate"], counts["lost"]) == (2, 1, {"row_refused": 1})
    assert counts["queued"] == 2


def test_a_batch_is_taken_as_a_whole_or_not_at_all(intake, ledger):
    intake.offer(records(8))
    assert refusal(intake, records(3)) is Rejection.QUEUE_FULL
    assert len(intake) == 8
    assert ledger.counts()["rejected"] == {"queue_full": 3}
    intake.offer(records(2))
    assert intake.is_full()


def test_it_is_bounded_in_bytes_but_an_empty_queue_takes_any_body(intake):
    intake.offer(records(1, size_bytes=5000))
    assert refusal(intake, records(1)) is Rejection.QUEUE_FULL
    take(intake)
    intake.settle(1, stored=1)
    intake.offer(records(9, size_bytes=100))
    assert refusal(intake, records(1, size_bytes=101)) is Rejection.QUEUE_FULL


def test_more_than_it_can_ever_hold_is_said_so(intake):
    assert refusal(intake, records(11)) is Rejection.TOO_LARGE


def test_no_promise_is_given_while_an_older_event_is_not_on_disk(intake, monkeypatch):
    now = time.monotonic()
    intake.offer(records(1))
    monkeypatch.setattr(time, "monotonic", lambda: now + OLDEST_PENDING_S + 0.5)
    intake.trouble = "no space left"
    with pytest.raises(NotTaken, match="no space left") as error:
        intake.offer(records(1))
    assert error.value.reason is Rejection.UNAVAILABLE
    intake.settle(1, stored=1)
    intake.offer(records(1))


def test_until_admitted_and_once_closed_nothing_gets_in(ledger):
    intake = Intake(ledger, capacity=10, max_bytes=1000, batch_size=4)
    assert refusal(intake, records(1)) is Rejection.UNAVAILABLE
    intake.close()
    intake.admit()
    intake.refuse("something else")
    with pytest.raises(NotTaken, match="shutting down"):
        intake.offer(records(1))


def test_after_refuse_nothing_gets_in(intake):
    intake.refuse("shutting down")
    with pytest.raises(NotTaken, match="shutting down"):
        intake.check(1)
    assert refusal(intake, records(1)) is Rejection.UNAVAILABLE
    intake.admit()
    intake.offer(records(1))


def test_a_lone_event_waits_for_the_pace_a_full_batch_does_not(intake):
    soon = time.monotonic() + 0.05
    intake.offer(records(1))
    assert len(intake.take(not_before=soon, timeout_s=5)) == 1
    assert time.monotonic() >= soon
    intake.offer(records(3))
    assert len(intake.take(not_before=time.monotonic() + 60, timeout_s=5)) == 4


def test_an_event_somebody_waits_for_does_not_wait_for_the_pace(intake):
    receipt = Receipt(1)
    intake.offer(records(1), receipt=receipt)
    assert len(intake.take(not_before=time.monotonic() + 60, timeout_s=5)) == 1
    assert not receipt.wait(0)
    intake.settle(1, stored=1)
    assert receipt.wait(0)
    assert not receipt.lost


def test_a_sleeping_taker_is_woken_by_an_event_and_by_wake(intake):
    taken = []
    for end_wait in (lambda: intake.offer(records(1)), intake.wake):
        taker = threading.Thread(
            target=lambda: taken.append(intake.take(not_before=0, timeout_s=30)), daemon=True
        )
        taker.start()
        time.sleep(0.01)
        end_wait()
        taker.join(5)
        assert not taker.is_alive()
        if len(intake):
            intake.settle(1, stored=1)
    assert [len(batch) for batch in taken] == [1, 0]


def test_what_is_abandoned_is_counted_and_its_waiters_are_told(intake, ledger):
    receipt = Receipt(2)
    intake.offer(records(2), receipt=receipt)
    assert intake.abandon() == 2
    assert receipt.wait(0)
    assert receipt.lost == 2
    assert ledger.counts()["lost"] == {"shutdown": 2}
    assert ledger.counts()["queued"] == 0
