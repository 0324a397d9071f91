import pytest

from tracer.api import splitter
from tracer.api.body import JSON, NDJSON
from tracer.api.splitter import Splitter
from tracer.errors import EventError
from tracer.ledger import Rejection

EVENT = b'{"name":"n","a":[1,2,{"b":3}]}'


@pytest.fixture(params=[1, splitter.MANY_COMMAS], ids=["into a struct", "into a list"])
def split(request, monkeypatch):
    monkeypatch.setattr(splitter, "MANY_COMMAS", request.param)
    return Splitter(5).split


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_array_is_split_into_the_texts_of_its_elements(split, count):
    assert split(b" [%b]\n" % b" , ".join([EVENT] * count), JSON) == [EVENT] * count


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[%b]" % b",".join([b"1"] * 6), Rejection.TOO_LARGE),
        (b"[]", Rejection.EMPTY),
        (b"[1,2", Rejection.NOT_JSON),
        (b"[1,,2]", Rejection.NOT_JSON),
        (b'[1,"\xff"]', Rejection.INVALID_UTF8),
    ],
)
def test_an_array_that_cannot_be_read_is_refused(split, text, reason):
    with pytest.raises(EventError) as caught:
        split(text, JSON)
    assert caught.value.reason == reason


def test_a_lone_surrogate_in_an_array_is_mended(split):
    assert split(b'["a","\\ud83d"]', JSON) == [b'"a"', b'"\\ufffd"']


def test_an_array_of_very_many_elements_is_given_up_early(monkeypatch):
    """As a list it would take forty times the memory of the body."""
    monkeypatch.setattr(splitter, "_decode_list", pytest.fail)
    with pytest.raises(EventError, match="more than 5 events"):
        Splitter(5).split(b"[0" + b",0" * splitter.MANY_COMMAS + b"]", JSON)


def test_lines_are_events(split):
    assert split(b"\n".join([EVENT, b" ", EVENT, b""]), NDJSON) == [EVENT + b"\n", EVENT + b"\n"]
    with pytest.raises(EventError, match="more than 5 events"):
        split(b"\n".join([EVENT] * 6), NDJSON)
