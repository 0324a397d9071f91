import re
import time
import uuid

from tracer.identity import NAMESPACE, identify, uuid7

HEX = "f9269303dc76ff9fd204820beb30951a"


def test_a_new_identity_is_a_uuid7_of_now():
    made = [uuid.UUID(uuid7()) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {u.version for u in made} == {7}
    assert {u.variant for u in made} == {uuid.RFC_4122}
    assert abs((made[0].int >> 80) - time.time() * 1000) < 5000
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid7())


def test_a_uuid_is_kept_in_its_canonical_form():
    canonical = str(uuid.UUID(HEX))
    for sent in (canonical, canonical.upper(), HEX, HEX.upper()):
        assert identify("llm_trace", sent, None) == (canonical, None)


def test_a_pair_becomes_the_uuid5_of_the_pair_and_keeps_the_trace_id():
    identity = identify("llm_trace", HEX, "c327471cc058ba27")
    assert identity.trace_id == str(uuid.uuid5(NAMESPACE, f"llm_trace:32:{HEX}:c327471cc058ba27"))
    assert identity.otel_trace_id == HEX
    assert identify("llm_trace", HEX.upper(), "C327471CC058BA27").trace_id == identity.trace_id
    assert identify("llm_trace", HEX, "b5c23b1042b28b53").trace_id != identity.trace_id


def test_an_id_that_is_no_uuid_is_hashed_and_kept():
    identity = identify("llm_trace", "run-42", None)
    assert uuid.UUID(identity.trace_id).version == 5
    assert identity.otel_trace_id == "run-42"
    assert identify("llm_trace", "run-42", None) == identity
    assert identify("llm_trace", "RUN-42", None).trace_id != identity.trace_id


def test_pairs_that_differ_are_told_apart():
    pairs = [("a:b", "c"), ("a", "b:c"), ("a", "B"), ("a", "b"), ("a:b", None), ("A", "b")]
    assert len({identify("llm_trace", *pair).trace_id for pair in pairs}) == len(pairs)


def test_a_span_without_a_trace_identifies_nothing():
    assert identify("llm_trace", None, "c327471cc058ba27").otel_trace_id is None
    assert identify("llm_trace", "", "x").trace_id != identify("llm_trace", "", "x").trace_id


def test_a_call_and_its_error_with_the_same_pair_are_two_events():
    pair = (HEX, "c327471cc058ba27")
    assert identify("llm_trace", *pair).trace_id != identify("error_event", *pair).trace_id
