from itertools import pairwise
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rows import insert, query
from tracer import retention
from tracer.events import CustomEvent
from tracer.retention import CLOCK_SKEW_MS

BEFORE, NOW = 1000, 2000
ARRIVALS = st.sampled_from([0, 999, BEFORE, 1500, NOW + CLOCK_SKEW_MS, NOW + CLOCK_SKEW_MS + 1])
STATES = {"pushed": {"pushed_at": 1}, "unpushed": {}, "refused": {"push_error": "bad"}}
ROWS = st.lists(
    st.tuples(st.integers(1, 3) | st.just(40), ARRIVALS, st.sampled_from(list(STATES))), max_size=12
)


def aged_one_by_one(rows, only_finished):
    """The same in plain words: up to the first young or unpushed row, without what is left of the
    future at the end.
    """
    walk = []
    for row_id, received_at, state in rows:
        if only_finished and state == "unpushed":
            break
        if BEFORE <= received_at <= NOW + CLOCK_SKEW_MS:
            break
        walk.append((row_id, received_at))
    while walk and walk[-1][1] >= BEFORE:
        walk.pop()
    return [row_id for row_id, _ in walk]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.booleans(), st.integers(1, 30), st.integers(1, 20))
def test_aged_rows_are_those_a_walk_row_by_row_finds(store, steps, only_finished, size, part):
    store.database.execute_sql("DELETE FROM custom_events")
    rows, row_id = [], 0
    for gap, received_at, state in steps:
        row_id += gap
        rows.append((row_id, received_at, state))
    insert(
        store.path,
        "custom_events",
        [{"id": n, "received_at": at, **STATES[state]} for n, at, state in rows],
    )
    with patch.object(retention, "_WALK_IDS", part):
        doomed = list(
            retention.aged(store, before=BEFORE, now=NOW, only_finished=only_finished, size=size)
        )
    found = [
        row_id
        for (row_id,) in query(store, "SELECT id FROM custom_events ORDER BY id")
        if any(d.first <= row_id <= d.last for d in doomed)
    ]
    assert found == aged_one_by_one(rows, only_finished)
    assert all(d.last - d.first < size and d.kind is CustomEvent for d in doomed)
    assert all(one.last < other.first for one, other in pairwise(doomed))
    assert all(d.only_finished == only_finished for d in doomed)
