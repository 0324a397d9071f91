"""Any rows, any remote: what is marked is there, what is refused was bad, and in the end all is done."""

import json
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.remote import answering, reset
from tracer.breaker import Breaker
from tracer.encoders import native
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.push import Push
from tracer.remote import Remote

BODIES = {
    LlmTrace: {"provider": "p", "model": "m"},
    ErrorEvent: {"error_type": "crash", "message": "m"},
    CustomEvent: {"name": "n"},
}
ROWS = st.lists(
    st.tuples(st.sampled_from(list(BODIES)), st.booleans(), st.integers(0, 3000)), max_size=25
)
FAULTS = st.sampled_from(["lost", "reset", "half", 503, 429, 401, 301])


def tables(store, column):
    return {
        row[0]
        for kind in KINDS
        for row in store._database.execute_sql(
            f"SELECT trace_id FROM {kind._meta.table_name} WHERE {column} IS NOT NULL"
        ).fetchall()
    }


@pytest.fixture
def parts(store, decoders, remote):
    return store, decoders, remote, count()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(ROWS, st.lists(FAULTS | st.just("honest"), max_size=6)), min_size=1, max_size=4
    )
)
def test_whatever_happens_nothing_is_lost_and_nothing_good_refused(parts, rounds):
    store, decoders, remote, numbers = parts
    good, bad = set(), set()
    honest = remote.refuse(lambda event: event["data"].get("metadata", {}).get("bad"))
    faults = {"lost": remote.cut_after_storing, "reset": reset, "half": remote.cut_in_head}

    def run_pass():
        # A new one each time, as after a restart: what has to survive is in the database.
        breaker = Breaker(threshold=2, interval_s=30)
        push = Push(
            store,
            Remote(remote.url),
            native,
            breaker,
            lambda job: job(store),
            agent_id="agent-1",
            max_bytes=5000,
            timeout_s=5,
        )
        push.run_once()

    for rows, actions in rounds:
        for kind, is_bad, size in rows:
            event = {**BODIES[kind], "metadata": {"bad": is_bad, "x": "x" * size}}
            record = decoders[kind].decode(json.dumps(event).encode(), 1000 + next(numbers))
            store.insert([record])
            (bad if is_bad else good).add(record.trace_id)
        remote.answer = remote.in_turn(
            *[
                honest
                if action == "honest"
                else faults.get(action) or answering(action, Retry_After="0")
                for action in actions
            ],
            honest,
        )
        run_pass()
        assert tables(store, "pushed_at") <= set(remote.events)
        counts = store.row_counts
        assert counts.get("stored", 0) == sum(
            counts.get(name, 0) for name in ("pushed", "unpushed", "refused")
        )
    remote.answer = honest
    witness = decoders[CustomEvent].decode(b'{"name":"witness"}', 1000 + next(numbers))
    store.insert([witness])  # a good row, or bad ones alone would rightly be kept
    run_pass()
    assert store.row_counts["unpushed"] == 0
    assert good <= set(remote.events)
    assert tables(store, "push_error") & good == set()
    assert bad <= tables(store, "push_error") | set(remote.events)  # those a lost answer had taken
