import json

import pytest

from tracer import call_counts
from tracer.call_counts import ERROR_TYPES, OTHER, CallCounts, Histogram
from tracer.events import CustomEvent, LlmTrace
from tracer.intake import Intake
from tracer.ledger import Ledger
from tracer.writer import Writer


@pytest.fixture
def counts():
    return CallCounts()


@pytest.fixture
def call(decoders):
    def decode(**fields):
        event = {"provider": "anthropic", "model": "claude-sonnet-4-5"} | fields
        return decoders[LlmTrace].decode(json.dumps(event).encode(), 1)

    return decode


def test_a_call_is_counted_in_all_it_has(counts, call):
    counts.note([call(prompt_tokens=100, completion_tokens=5, latency_ms=1500, cost_usd=0.25)])
    ((names, group),) = counts.groups()
    assert names == ("chat", "anthropic", "claude-sonnet-4-5")
    assert group.tokens["input"].sum == 100
    assert group.tokens["output"].sum == 5
    assert group.seconds[""].sum == 1.5
    assert (group.cost_usd, group.without_cost) == (0.25, 0)
    assert group.statuses == {"success": 1}


def test_what_is_not_known_is_not_zero(counts, call):
    counts.note([call(model="unheard-of")])
    ((_, group),) = counts.groups()
    assert sum(group.tokens["input"].counts) == sum(group.tokens["output"].counts) == 0
    assert group.seconds == {}
    assert (group.cost_usd, group.without_cost) == (0, 1)


def test_failures_are_told_apart(counts, call):
    counts.note([call(status=status, latency_ms=1) for status in ERROR_TYPES])
    ((_, group),) = counts.groups()
    assert set(group.seconds) == {"", "_OTHER", "timeout", "rate_limited"}


def test_every_status_has_an_error_type():
    assert set(ERROR_TYPES) == set(LlmTrace._meta.fields["status"].words)


@pytest.mark.parametrize("cost_usd", [None, 3])
def test_an_operation_around_calls_is_no_call_of_its_own(counts, call, cost_usd):
    around = call(operation="invoke_agent", prompt_tokens=100, latency_ms=5, cost_usd=cost_usd)
    counts.note([around])
    ((_, group),) = counts.groups()
    assert sum(group.tokens["input"].counts) == 0
    assert not group.statuses
    assert (group.cost_usd, group.without_cost) == (0, 0)
    assert group.seconds[""].sum == 0.005


def test_names_are_bounded(counts, call, monkeypatch):
    monkeypatch.setattr(call_counts, "MAX_GROUPS", 3)
    counts.note([call(model=f"m{n}" + "x" * 500) for n in range(20)])
    groups = dict(counts.groups())
    assert len(groups) == 4
    assert sum(groups[OTHER, OTHER, OTHER].statuses.values()) == 17
    assert max(len(name) for names in groups for name in names) == call_counts.LONGEST_NAME


def test_a_bound_belongs_to_its_bucket():
    histogram = Histogram((1.0, 4.0))
    for value in (0, 1, 1.5, 4, 5):
        histogram.add(value)
    assert histogram.buckets() == [("1", 2.0), ("4", 4.0), ("+Inf", 5.0)]


def test_what_is_stored_counts_once(store, call, decoders):
    """Retries, within a batch and later; and other kinds, which do not count."""
    ledger, counts = Ledger(), CallCounts()
    intake = Intake(ledger, capacity=100, max_bytes=10**7, batch_size=10)
    writer = Writer(store, intake, window_s=0, report=pytest.fail, on_stored=counts.note)
    intake.admit()
    first, second = (call(trace_id=f"{n:032x}", prompt_tokens=n) for n in (1, 2))
    again = first._replace(
        row=tuple(9 if value == first.received_at else value for value in first.row)
    )
    for batch in (
        [first, first],
        [again, second],
        [decoders[CustomEvent].decode(b'{"name":"n"}', 1)],
    ):
        intake.offer(batch)
        writer.run_once()
    ((_, group),) = counts.groups()
    assert group.statuses == {"success": 2}
    assert group.tokens["input"].sum == 3
    assert ledger.counts()["duplicate"] == 2


def test_a_fault_in_counting_costs_no_event(store, call, caplog):
    ledger = Ledger()
    intake = Intake(ledger, capacity=100, max_bytes=10**7, batch_size=10)
    writer = Writer(store, intake, window_s=0, report=pytest.fail, on_stored=lambda _: 1 / 0)
    intake.admit()
    intake.offer([call()])
    assert writer.run_once() is None
    assert ledger.counts()["stored"] == 1
    assert writer.database_status == "ok"
    assert "could not be counted" in caplog.text
