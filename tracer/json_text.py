"""Works on JSON as text: what must be known or mended before, or instead of, building objects.

Agents send arbitrary JSON in `metadata` and in unknown fields. It stays text, because as Python
objects it could grow twentyfold. Patterns are possessive and an unterminated string runs to the
end, so time is linear on any input.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from msgspec import Raw

from tracer.errors import EventError
from tracer.json_spans import WINDOW_BYTES, windows
from tracer.ledger import Rejection

MAX_DEPTH: Final = 64
"""Deepest nesting taken. Readers recurse: Python's gives up near 1000, others far earlier."""

MAX_MEMBERS: Final = 50_000

_STRING = rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)'
_STRINGS = re.compile(_STRING, re.DOTALL)
_PIECE = re.compile(rb'(?:[^"]{1,65536}+|%s){1,2000}+' % _STRING, re.DOTALL)
_STRING_OR_BIG_NUMBER = re.compile(
    rb"%s|(?<![\d.eE+-])-?(?:\d{16,}+(?:\.\d++)?(?:[eE][-+]?\d++)?|\d++(?:\.\d++)?[eE][+]?\d{3,}+)"
    % _STRING,
    re.DOTALL,
)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_NUMBER_SHAPES = bytes.maketrans(b"123456789E", b"000000000e")
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def check_numbers(text: bytes) -> None:
    """Raises EventError for a number that a reader with 64-bit types could not hold."""
    if not any(map(_may_have_big_number, windows(text, overlap=32))):
        return  # the usual case, at C speed
    for match in _STRING_OR_BIG_NUMBER.finditer(text):
        token = match[0]
        if token[:1] == b'"':
            continue
        if token.lstrip(b"-").isdigit():
            in_range = len(token) <= 20 and -(2**63) <= int(token) < 2**64
        else:
            in_range = abs(float(token)) != float("inf")
        if not in_range:
            shown = token[:24].decode()
            raise EventError(Rejection.OUT_OF_RANGE, f"the number {shown} is out of range")


def _may_have_big_number(window: bytes) -> bool:
    """Whether there are 16 digits in a row, or three in an exponent."""
    shapes = window.translate(_NUMBER_SHAPES)
    return b"0000000000000000" in shapes or b"0e000" in shapes or b"0e+000" in shapes


def check_depth(text: bytes) -> None:
    """Raises EventError when valid JSON nests deeper than `MAX_DEPTH`."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return
    still_open = b""
    for structure in _structure(text):
        brackets = still_open + structure.translate(_BRACKETS, _ALL_BUT_BRACKETS)
        pairs, levels = brackets, 0
        while (shorter := pairs.replace(b"[]", b"")) != pairs:  # takes off the innermost level
            pairs, levels = shorter, levels + 1
            if levels > MAX_DEPTH:
                break
        if len(pairs) + levels > MAX_DEPTH and _deepest(brackets) > MAX_DEPTH:
            raise EventError(Rejection.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")
        still_open = pairs


def check_members(text: bytes) -> None:
    """Raises EventError when JSON has more than `MAX_MEMBERS` in all its objects together: as
    Python objects they would take many times the memory of the text.
    """
    if text.count(b":") <= MAX_MEMBERS:
        return
    members = 0
    for structure in _structure(text):
        members += structure.count(b":")
        if members > MAX_MEMBERS:
            raise EventError(Rejection.TOO_LARGE, f"more than {MAX_MEMBERS} members in one event")


def check_utf8(text: bytes) -> None:
    """Raises EventError unless the text is UTF-8. Takes no copy of a large one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(text)
    for start in range(0, len(text), WINDOW_BYTES):
        window = view[start : start + WINDOW_BYTES]
        try:
            decoder.decode(window, final=start + WINDOW_BYTES >= len(text))
        except UnicodeDecodeError as error:
            at = start - len(error.object) + len(window) + error.start
            raise EventError(Rejection.INVALID_UTF8, f"invalid UTF-8 at byte {at}") from None


def _structure(text: bytes) -> Iterator[bytes]:
    """JSON without its strings, in pieces: of a large text with many, one would be many objects."""
    place = 0
    while match := _PIECE.match(text, place):
        place = match.end()
        yield _STRINGS.sub(b"", match[0])


def _deepest(brackets: bytes) -> int:
    """The depth reached by brackets of one kind."""
    return max(accumulate(1 if bracket == ord("[") else -1 for bracket in brackets))


def mend(text: bytes) -> bytes:
    """Replaces escaped lone surrogates by U+FFFD: a JavaScript string cut inside an emoji."""
    if b"\\u" not in text:
        return text
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match["lone"] else match[0], text)


def merge(into: Mapping[str, Raw], extra: Mapping[str, Raw]) -> dict[str, Raw]:
    """Joins members; where both have a name, that of `into` keeps it and the other's becomes
    `event.<name>`, or `event.<name>.2` and so on: nothing is overwritten.
    """
    merged = dict(into)
    for key, value in extra.items():
        name, number = key, 1
        while name in merged:
            name = f"event.{key}" if number == 1 else f"event.{key}.{number}"
            number += 1
        merged[name] = value
    return merged
