from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import EventError
from tracer.timestamps import parse_ms

MOMENT = datetime(2026, 11, 22, 1, 2, 3, 456000, tzinfo=UTC)
MOMENT_MS = 1795309323456


@pytest.mark.parametrize(
    "sent",
    [
        MOMENT_MS,
        str(MOMENT_MS),
        MOMENT_MS / 1000,
        str(MOMENT_MS / 1000),
        "2026-11-22T01:02:03.456Z",
        "2026-11-22T01:02:03.456789123+00:00",
        "2026-11-22T02:32:03.456+01:30",
        "2026-11-22 01:02:03.456",
        "20261122T010203.456Z",
    ],
)
def test_all_forms_of_one_moment(sent):
    assert parse_ms(sent) == MOMENT_MS


@pytest.mark.parametrize(
    "sent",
    [
        -1,
        1.8e18,
        1.8e15,
        float("nan"),
        float("inf"),
        10**400,
        "nan",
        "soon",
        "",
        "1969-12-31T23:59Z",
    ],
)
def test_what_is_no_time_is_refused(sent):
    with pytest.raises(EventError):
        parse_ms(sent)


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29)),
    st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
def test_iso_8601_reads_back_to_the_millisecond(naive, zone):
    moment = naive.replace(tzinfo=zone)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_ms(moment.isoformat()) == expected


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        assert parse_ms(text) >= 0
    except EventError:
        pass
