"""Parts of JSON as text: windows of it, and where a value ends, also in JSON within a string. Pure.

In JSON within k strings, a quote has 2^k - 1 backslashes before it: each level doubles them and
adds one. So the number before a quote tells the level it belongs to.
"""

import re
from collections.abc import Iterator
from typing import Final

MAX_BRACKETS: Final = 10_000
WINDOW_BYTES: Final = 65536

_SCALAR = re.compile(r"[^\s,}\]\"'\\]++")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_FLAT = rf'[^\[\]{{}}"]++|{_STRING.pattern}'
_TO_BRACKET = re.compile(
    rf"(?:{_FLAT}|\[(?:{_FLAT})*+\]|\{{(?:{_FLAT})*+\}})*+([\[\]{{}}])", re.DOTALL
)
_QUOTE_OR_BRACKET = re.compile(r"(\\*+)([\"'])|[\[\]{}]")


class TooMany(ValueError):
    """More of something than anybody has good reason to send."""


def value_end(text: str, start: int, quote: str) -> int:
    """The end of the value that begins at `start`, or `start` when there is none to be read.

    `quote` is the quote of its level, with its backslashes. Words (true, false, null) count as
    none. A value that is cut off ends with the text, or with the string around it. Raises TooMany
    for one of more than `MAX_BRACKETS` nested brackets or quotes: that takes long.
    """
    first = text[start : start + 1]
    if text.startswith(quote, start):
        plain = text.find(quote, start + len(quote))
        inside = text[start + len(quote) : plain + 1]
        if plain > 0 and "\\" not in inside and (quote == '"' or '"' not in inside):
            return plain + len(quote)  # the usual case: nothing escaped in it
        return _plain_end(text, start) if quote == '"' else _end(text, start, quote)
    if first in ("{", "["):
        return _plain_end(text, start) if quote == '"' else _end(text, start, quote)
    match = _SCALAR.match(text, start)
    return start if match is None or match[0] in ("true", "false", "null") else match.end()


def _end(text: str, start: int, quote: str) -> int:
    """Where the quote has backslashes, or is a single one: within a string of JSON."""
    backslashes, mark = len(quote) - 1, quote[-1]
    period, is_inside, depth = 2 * (backslashes + 1), False, 0
    for number, match in enumerate(_QUOTE_OR_BRACKET.finditer(text, start)):
        if number > MAX_BRACKETS:
            raise TooMany
        if match[2] is None:
            if not is_inside:
                depth += 1 if match[0] in "{[" else -1
        elif match[2] == '"' and len(match[1]) % 2 == 0:
            return (
                match.start()
            )  # no backslash of an even number escapes it: all of JSON's text ends
        elif match[2] != mark:
            continue
        elif len(match[1]) < backslashes:
            return match.start()
        elif len(match[1]) % period == backslashes:
            is_inside = not is_inside
        if depth <= 0 and not is_inside:
            return match.end()
    return len(text)


def _plain_end(text: str, start: int) -> int:
    """The same where no quote is escaped, in few steps: objects and arrays without others inside
    are passed over at once.
    """
    if text[start] == '"':
        match = _STRING.match(text, start)
        return len(text) if match is None else match.end()
    depth, place = 1, start + 1
    for _ in range(MAX_BRACKETS):
        match = _TO_BRACKET.match(text, place)
        if match is None:
            return len(text)
        place = match.end()
        depth += 1 if match[1] in "{[" else -1
        if depth == 0:
            return place
    raise TooMany


def windows(text: bytes, *, overlap: int) -> Iterator[bytes]:
    """The text in pieces, for work that needs copies: a small text is its only piece."""
    if len(text) <= WINDOW_BYTES:
        yield text
        return
    for start in range(0, len(text), WINDOW_BYTES):
        yield text[start : start + WINDOW_BYTES + overlap]
