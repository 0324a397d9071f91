import re

from hypothesis import given
from hypothesis import strategies as st

from tracer.cli import units


def test_sizes_times_and_amounts_are_readable():
    assert [units.size(n) for n in (None, 0, 1023, 1536, 5 * 1024**2, 3 * 1024**3)] == [
        "-",
        "0 B",
        "1023 B",
        "1.5 KB",
        "5 MB",
        "3 GB",
    ]
    assert [units.duration(ms) for ms in (0, 999, 1500, 59_000, 125_000, 3_600_000)] == [
        "0 ms",
        "999 ms",
        "1.5 s",
        "59 s",
        "2 m 5 s",
        "1 h",
    ]
    assert units.duration(26 * 3_600_000) == "1 d 2 h"
    assert [units.usd(x) for x in (None, 0, 0.00001, 0.0123, 1234.5)] == [
        "-",
        "$0.00",
        "<$0.0001",
        "$0.0123",
        "$1,234.50",
    ]
    assert [units.count(n) for n in (0, 9999, 12_345, 8_900_000)] == ["0", "9,999", "12.3k", "8.9M"]
    assert units.ago(None, 5) == "never"


@given(st.integers(0, 10**15))
def test_no_number_comes_out_long_or_in_powers_of_ten(number):
    for text in (units.size(number), units.duration(number), units.count(number)):
        assert len(text) <= 16
        assert not re.search(r"e\+", text), text


@given(st.floats(0, 1e9), st.floats(0.001, 1e9), st.booleans())
def test_a_bar_is_as_long_as_its_value(value, largest, is_unicode):
    value = min(value, largest)
    drawn = units.bar(value, largest, 10, is_unicode=is_unicode)
    assert (len(drawn) >= 1) == (value > 0)
    assert abs(len(drawn) - 10 * value / largest) <= 1


@given(st.text(st.characters(codec=None, categories=None)))
def test_no_text_steers_the_terminal(text):
    assert units.clean(text).isprintable()
