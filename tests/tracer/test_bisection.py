"""The search alone, against a remote of three lines; that it is used rightly is in test_push."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.bisection import PATIENCE, Bisection
from tracer.events import CustomEvent, LlmTrace


def search(count, bad, kinds=(LlmTrace,)):
    """Sends `count` rows to a remote that refuses what holds a bad one: requests, set aside."""
    left = [(kinds[n % len(kinds)], n) for n in range(count)]

    def newest():
        last = dict(left)
        return [{kind: (row_id, row_id)} for kind, row_id in last.items()]

    bisection, requests, refused = Bisection(newest), 0, []
    while left:
        batch = left
        if bisection.segments:
            ranges = bisection.segments.pop()
            batch = [
                r for r in left if r[0] in ranges and ranges[r[0]][0] <= r[1] <= ranges[r[0]][1]
            ]
            if not batch:
                continue
        requests += 1
        if any(row_id in bad for _, row_id in batch):
            if not bisection.refused(batch, "400"):
                break
        else:
            left = [row for row in left if row not in batch]
            bisection.accepted()
        for ranges, _ in bisection.proven:
            refused += [row_id for first, row_id in ranges.values() if first == row_id]
        left = [row for row in left if row[1] not in refused]
        bisection.proven.clear()
    return requests, refused


@pytest.mark.parametrize("place", [0, 1, 499, 500, 999])
def test_one_bad_row_among_a_thousand_takes_at_most_30_requests(place):
    requests, refused = search(1000, {place})
    assert refused == [place]
    assert requests <= 30


def test_a_remote_that_refuses_everything_is_found_out_soon_and_nothing_is_set_aside():
    requests, refused = search(2000, set(range(2000)), (LlmTrace, CustomEvent))
    assert refused == []
    assert requests <= PATIENCE + 2


def test_a_remote_that_begins_to_refuse_everything_loses_us_nothing():
    """The first batch was taken, then it was changed."""
    bisection = Bisection(lambda: [{LlmTrace: (900, 900)}])
    bisection.accepted()
    rows = [(LlmTrace, n) for n in range(800)]
    while bisection.refused(rows, "400"):
        ((first, last),) = bisection.segments.pop().values()
        rows = [(LlmTrace, n) for n in range(first, last + 1)]
    assert bisection.proven == []


def test_bad_rows_at_the_front_do_not_pass_for_a_remote_that_refuses_everything():
    _requests, refused = search(500, set(range(100)))
    assert refused == list(range(100))


def test_a_bad_row_that_is_alone_waits_for_another_one():
    assert search(1, {0})[1] == []


def test_a_kind_the_remote_does_not_know_is_set_aside_row_by_row():
    _, refused = search(200, set(range(0, 200, 2)), (LlmTrace, CustomEvent))
    assert sorted(refused) == list(range(0, 200, 2))


@given(st.integers(1, 200), st.sets(st.integers(0, 199)))
def test_whatever_is_bad_exactly_that_is_set_aside(count, bad):
    bad = {row_id for row_id in bad if row_id < count - 1}  # the newest is good
    requests, refused = search(count, bad)
    assert sorted(refused) == sorted(bad)
    assert requests <= 1 + 20 * len(bad) + 1
