from hypothesis import given
from hypothesis import strategies as st

from tests.support.pprof import Decoded
from tracer import pprof
from tracer.pprof import Place, Profile, Sample

UNITS = (("samples", "count"), ("cpu", "nanoseconds"))
INNER = Place("inner", "/app/tracer/a.py", 12, 10)
OUTER = Place("outer", "/app/tracer/b.py", 300, 250)

names = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(0, 2**63 - 1)
places = st.builds(Place, names, names, numbers, numbers)
samples = st.builds(
    Sample,
    st.lists(places, max_size=5).map(tuple),
    st.tuples(numbers, numbers),
    st.dictionaries(names, names, max_size=2),
)


@given(st.lists(samples, max_size=8), numbers, numbers, numbers)
def test_an_independent_reader_gets_out_what_went_in(many, began_at_ns, duration_ns, period):
    profile = Profile(UNITS, many, began_at_ns, duration_ns, period)
    read = Decoded(pprof.encode(profile))
    assert [([*map(tuple, s.stack)], [*s.values], s.labels) for s in many] == read.samples
    assert (read.began_at_ns, read.duration_ns, read.period) == (began_at_ns, duration_ns, period)
    assert read.units == [*UNITS]
    assert read.period_unit == UNITS[-1]


def test_negative_values_are_64_bits():
    read = Decoded(pprof.encode(Profile(UNITS, [Sample([INNER], (-1, 5))])))
    assert read.samples[0][1] == [2**64 - 1, 5]


def test_the_same_place_is_written_once():
    few = pprof.encode(Profile(UNITS, [Sample([INNER, OUTER], (1, n)) for n in range(2)]))
    many = pprof.encode(Profile(UNITS, [Sample([INNER, OUTER], (1, n)) for n in range(200)]))
    assert len(many) < len(few) + 200 * 12


def test_folded_is_outermost_first_with_the_last_value():
    profile = Profile(UNITS, [Sample([INNER, OUTER], (3, 42), {"thread": "a;b\nc"})])
    (line,) = pprof.folded(profile)
    assert line == "a,b c;outer (tracer/b.py:300);inner (tracer/a.py:12) 42"
