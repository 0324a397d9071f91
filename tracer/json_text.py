"""Works on JSON as text: what must be known or mended before, or instead of, building objects.

Agents send arbitrary JSON in `metadata` and in unknown fields. It stays text, because as Python
objects it could grow twentyfold. Patterns are possessive and an unterminated string runs to the
end, so time is linear on any input.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from tracer.errors import EventError
from tracer.ledger import Rejection

MAX_DEPTH: Final = 64
"""Deepest nesting taken. Readers recurse: Python's gives up near 1000, others far earlier."""

_STRING = rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)'
_STRINGS = re.compile(_STRING, re.DOTALL)
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
    shapes = text.translate(_NUMBER_SHAPES)
    if b"0000000000000000" not in shapes and b"0e000" not in shapes and b"0e+000" not in shapes:
        return  # nothing with 16 digits or an exponent of three: the usual case, at C speed
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


def check_depth(text: bytes) -> None:
    """Raises EventError when valid JSON nests deeper than `MAX_DEPTH`."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return
    pairs = _STRINGS.sub(b"", text).translate(_BRACKETS, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        pairs = pairs.replace(b"[]", b"")  # takes off the innermost level
        if not pairs:
            return
    raise EventError(Rejection.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")


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
