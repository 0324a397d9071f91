import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer import json_text
from tracer.errors import EventError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(check, text):
    try:
        check(text)
    except EventError:
        return True
    return False


@pytest.mark.parametrize(
    ("number", "is_refused"),
    [
        ("18446744073709551615", False),
        ("18446744073709551616", True),
        ("-9223372036854775808", False),
        ("-9223372036854775809", True),
        ("1e308", False),
        ("1e309", True),
        ("-1E+400", True),
        ("1e-999", False),
        ("9" * 5000, True),
        ("0." + "1" * 50, False),
        ("123456789012345678.5", False),
        ("1" * 20 + "e300", True),
        ('"1e999"', False),
        ('"\\"1e999"', False),
    ],
)
def test_numbers_beyond_64_bits_are_found_outside_strings_only(number, is_refused):
    text = f'{{"a":["x",{number},1]}}'.encode()
    assert refused(json_text.check_numbers, text) is is_refused


@given(JSON)
def test_a_text_is_refused_exactly_when_a_number_in_it_is_too_large(value):
    text = json.dumps(value).encode()

    def is_too_large(part):
        if isinstance(part, bool | str | None):
            return False
        if isinstance(part, int):
            return not -(2**63) <= part < 2**64
        if isinstance(part, dict):
            return any(map(is_too_large, part.values()))
        return isinstance(part, list) and any(map(is_too_large, part))

    # json.dumps writes Infinity, which no decoder lets through to this check.
    if b"Infinity" not in text:
        assert refused(json_text.check_numbers, text) is is_too_large(value)


@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_depth_is_counted_outside_strings(pair):
    middle = '"[[[["' if pair == "[]" else '"a":"{{{{"'
    opening = "[" if pair == "[]" else '{"a":'
    deepest = pair[0] + middle + pair[1]

    def nested(levels):
        return (opening * (levels - 1) + deepest + pair[1] * (levels - 1)).encode()

    assert not refused(json_text.check_depth, nested(json_text.MAX_DEPTH))
    assert refused(json_text.check_depth, nested(json_text.MAX_DEPTH + 1))
    assert not refused(json_text.check_depth, b"[" + b"[],{}," * 500 + b"1]")


@given(st.text(st.characters(codec=None, categories=None)))
def test_mending_makes_any_escaped_text_valid_and_changes_only_lone_surrogates(text):
    mended = msgspec.json.decode(json_text.mend(json.dumps(text).encode()))
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert mended == expected


def test_mending_leaves_escaped_backslashes_alone():
    assert json_text.mend(rb'"\\ud800"') == rb'"\\ud800"'


def test_merging_overwrites_nothing():
    raw = {name: msgspec.Raw(name.encode()) for name in ("a", "b")}
    merged = json_text.merge({"a": raw["a"], "event.a": raw["a"]}, {"a": raw["b"], "b": raw["b"]})
    assert list(merged) == ["a", "event.a", "event.a.2", "b"]


@pytest.mark.parametrize("padding", [0, 70_000])
@pytest.mark.parametrize(("depth", "is_refused"), [(64, False), (65, True)])
def test_depth_is_found_in_large_texts_too(padding, depth, is_refused):
    """Texts are looked at in pieces, in which brackets of others are still open."""
    halves = "[" * (depth // 2), "[" * (depth - depth // 2)
    inner = '"a",' * padding
    text = f"{halves[0]}{inner}{halves[1]}{']' * depth}".encode()
    assert refused(json_text.check_depth, text) is is_refused
    shallow = ("[" + "[[1]]," * 30_000 + "1]").encode()
    assert not refused(json_text.check_depth, shallow)


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ('{"a":{' + '"b":1,' * 49_998 + '"c":2}}', False),
        ('{"a":{' + '"b":1,' * 49_999 + '"c":2}}', True),
        ('{"a":"' + ":" * 60_000 + '"}', False),
    ],
)
def test_members_are_counted_outside_strings(text, is_refused):
    assert refused(json_text.check_members, text.encode()) is is_refused


@pytest.mark.parametrize("place", [0, 5, 65_530, 65_535, 65_536, 131_080])
def test_the_place_of_invalid_utf8_is_named_in_large_texts_too(place):
    text = b"x" * place + b"\xe2\x82" + b"y" * 100
    with pytest.raises(EventError, match=f"byte {place}$"):
        json_text.check_utf8(text)
    json_text.check_utf8(("x" * place + "€" * 50_000).encode())
