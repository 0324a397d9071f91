import pytest

from tracer.breaker import Breaker


@pytest.fixture
def breaker(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)  # the longest wait
    return Breaker(threshold=3, interval_s=30)


def fail(breaker, retry_after_s=0.0, opens=False):
    breaker.begin()
    wait_s = breaker.fail("why", retry_after_s=retry_after_s, opens=opens)
    breaker.end()
    return wait_s


def test_waits_double_up_to_five_minutes_with_full_jitter(monkeypatch):
    bounds = []
    monkeypatch.setattr("random.uniform", lambda low, high: bounds.append((low, high)) or high)
    patient = Breaker(threshold=99, interval_s=30)
    waits = [fail(patient) for _ in range(40)]
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[8:] == [256] + [300] * 31
    assert bounds == [(0, wait) for wait in waits]


def test_it_opens_after_as_many_failures_as_set_and_probes_each_interval(breaker):
    assert [fail(breaker) for _ in range(2)] == [1, 2]
    assert breaker.state == "closed"
    assert fail(breaker) == 30
    assert breaker.state == "open"
    breaker.begin()
    assert breaker.state == "half_open"
    assert breaker.fail("why", retry_after_s=0, opens=False) == 30
    assert breaker.state == "open"


def test_a_success_closes_it_and_the_count_begins_anew(breaker):
    for _ in range(3):
        fail(breaker)
    breaker.begin()
    breaker.succeed()
    breaker.end()
    assert (breaker.state, breaker.failed_passes, breaker.reason) == ("closed", 0, None)
    assert fail(breaker) == 1


def test_a_probe_with_nothing_to_send_shows_nothing(breaker):
    fail(breaker, opens=True)
    breaker.begin()
    breaker.end()
    assert breaker.state == "open"


def test_some_failures_open_it_at_once(breaker):
    assert fail(breaker, opens=True) == 30
    assert breaker.state == "open"
    assert fail(breaker) == 30  # and another kind of failure leaves it open
    assert breaker.state == "open"
    assert list(breaker.warnings()) == ["the push circuit is open, nothing is given up: why"]


def test_while_a_probe_is_under_way_the_circuit_is_no_less_open(breaker):
    fail(breaker, opens=True)
    before = list(breaker.warnings())
    breaker.begin()
    assert list(breaker.warnings()) == before


def test_never_before_the_remote_wants(breaker):
    assert fail(breaker, retry_after_s=120) == 120
    assert 119 < breaker.wait_s() <= 120
    assert fail(breaker, retry_after_s=0.1) == 2
    assert fail(breaker, retry_after_s=600) == 600  # open: longer than the interval


def test_it_warns_before_it_opens(breaker):
    assert list(breaker.warnings()) == []
    fail(breaker)
    assert list(breaker.warnings()) == ["push failed: why (1 passes in a row)"]
