import json
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.answer import Outcome, judge, retry_after_s

TABLE = {
    Outcome.CONFIRMED: [200, 201, 202, 204, 207],
    Outcome.TOO_LARGE: [413],
    Outcome.BAD_ROWS: [400, 409, 422],
    Outcome.MISCONFIGURED: [300, 301, 302, 303, 307, 308, 401, 403, 404, 405, 410, 415, 101],
    Outcome.KEPT: [408, 425, 429, 500, 501, 502, 503, 504, 599],
}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(outcome, status) for outcome, all_of in TABLE.items() for status in all_of],
)
def test_every_status_has_its_outcome(outcome, status):
    answer = judge(status, {}, b"")
    assert answer.outcome is outcome
    assert (answer.error is None) == (outcome is Outcome.CONFIRMED)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("TRACE_PUSH_API_KEY", [401, 403]),
        ("TRACE_PUSH_PROXY", [407]),
        ("TRACE_PUSH_ENDPOINT", [404, 405, 410, 415, 101]),
        ("a redirect is never followed, check TRACE_PUSH_ENDPOINT", [300, 301, 308, 399]),
    ],
)
def test_what_to_check_is_said(name, statuses):
    for status in statuses:
        error = judge(status, {}, b"").error
        assert error.removeprefix(f"the remote answered {status}: ").removeprefix("check ") == name


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999", 3600),
        ("9" * 400, 3600),
        ("-5", 0),
        ("1.5", 0),
        ("1e3", 0),
        ("١٢", 0),  # digits for int(), not for HTTP
        ("", 0),
        ("soon", 0),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0),
    ],
)
def test_retry_after_is_obeyed_within_reason(value, seconds):
    assert retry_after_s(value) == seconds


@pytest.mark.parametrize("zone", [" GMT", " +0000", ""])
def test_retry_after_takes_dates(zone, monkeypatch):
    """One without a zone is GMT, wherever the machine believes to be."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        value = formatdate(time.time() + 100).removesuffix(" -0000") + zone
        assert 97 < retry_after_s(value) <= 100
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=50) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ \S*"))
def test_retry_after_never_raises_and_is_bounded(value):
    assert 0 <= retry_after_s(value) <= 3600


def test_a_good_answer_may_reject_rows():
    items = [
        {"trace_id": "a", "reason": "too old"},
        {"trace_id": "b"},
        {"trace_id": 3},
        {"reason": "of none"},
        None,
    ]
    body = json.dumps({"accepted": 5, "rejected": items}).encode()
    assert judge(200, {}, body).rejected == {
        "a": "rejected: too old",
        "b": "rejected: no reason given",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b"null",
        b'{"rejected":3}',
        b'{"rejected":{}}',
        b'"rejected"',
        b'{"rejected":[[1]]}',
        b'{"rejected":[{"trace_id":"\xff"}]}',
        b'{"rejected":[{"trace_id":"\\ud800"}]}',
        b'{"rejected":' + b"[" * 60000,
        b'{"rejected":' + b"[" * 60000 + b"}",
    ],
)
def test_other_bodies_mean_nothing(body):
    assert judge(200, {}, body).rejected == {}


def test_of_a_list_too_long_to_be_read_the_beginning_counts():
    items = [{"trace_id": f"id-{n}", "reason": "}]"} for n in range(3000)]
    body = json.dumps({"rejected": items}).encode()[:65536]
    rejected = judge(200, {}, body).rejected
    assert 1000 < len(rejected) < 3000
    assert list(rejected) == [f"id-{n}" for n in range(len(rejected))]


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b'{"rejected":[' + b))
def test_no_body_can_raise(body):
    judge(200, {}, body)


def test_a_secret_in_a_reason_is_not_kept():
    body = b'{"rejected":[{"trace_id":"a","reason":"Authorization: Bearer abcdef1234567890"}]}'
    assert "abcdef1234567890" not in judge(200, {}, body).rejected["a"]
