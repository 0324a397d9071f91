"""Takes well-known secrets out of text (contract section 7). Pure; linear time on any input.

`[REDACTED:kind]` stands where a secret was. All works on JSON as text as well and leaves it valid:
no pattern takes a quote, or a backslash of JSON's, that it does not put back.

Linear, because every pattern begins with a literal or few letters and what follows is bounded or
possessive: nothing is scanned again from each of its characters. Those for words of any case run
over the text in small letters, and the original is cut at the places found.
"""

import re
from typing import Final

from tracer.json_spans import TooMany, value_end, windows
from tracer.secret_patterns import IN_CONTEXT, KEY, PEM, PREFIXED, VARIABLE

MAX_NAMED: Final = 10_000
"""Most names of secrets in one text. Beyond, finding each value would take long."""

_KEY_WORDS: Final = (
    *("key", "authorization", "cookie", "passw", "passphrase", "pwd", "secret", "credential"),
    "token",
)
_ASCII_ESCAPE = re.compile(
    r"\\u00(?:2[013-9a-fA-F]|[346][0-9a-fA-F]|5[0-9abd-fABD-F]|7[0-9a-eA-E])"
)
_ASCII_SMALL: Final = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

_BEFORE_DASH: Final = (
    *(
        literal.encode().split(b"-")[-2]
        for literal, _, _ in PREFIXED
        if literal[-1] == "-" and not literal.startswith("sk-")
    ),
    b"sk",
)
_BEFORE_UNDERSCORE: Final = tuple(
    literal.encode().split(b"_")[-2] for literal, _, _ in PREFIXED if literal[-1] == "_"
)
_BEFORE: Final = tuple(
    (separator, endings, frozenset(ending[-2:] for ending in endings))
    for separator, endings in ((b"-", _BEFORE_DASH), (b"_", _BEFORE_UNDERSCORE))
)
_SUSPECT: Final = tuple(literal.encode() for literal, _, _ in PREFIXED if literal[-1] not in "-_")
_SUSPECT_SMALL: Final = (
    *(b"authorization", b"cookie", b"passw", b"passphrase", b"pwd:", b"secret", b"credential"),
    *(b"bearer", b"basic ", b"apikey:", b"accesskey:", b"privatekey:", b"token:"),
)
_IN_SMALL: Final = bytes(
    ord(":") if byte in b"\"'\\=" else byte + 32 if 65 <= byte <= 90 else byte
    for byte in range(256)
)
"""Small letters, and what may follow the name of a secret as a colon."""

_NOT_SUSPECT: Final = bytes(set(range(256)) - set(b"".join(_SUSPECT)))
_NOT_SUSPECT_SMALL: Final = bytes(
    byte
    for byte in range(256)
    if _IN_SMALL[byte] not in b"".join(_SUSPECT_SMALL).replace(b" ", b"")
)
"""Bytes of no literal. A text without them still has every literal it had, and is far shorter."""

_MAX_PARTS: Final = 2000


def is_suspect(text: bytes) -> bool:
    """Whether JSON may hold a secret. Most holds none, and this tells it at the speed of C."""
    return any(map(_is_suspect, windows(text, overlap=1024)))  # a URL up to its password's end


def _is_suspect(text: bytes) -> bool:
    short = text.translate(None, _NOT_SUSPECT)
    for literal in _SUSPECT:
        if literal in short and literal in text:
            return True
    short = text.translate(_IN_SMALL, _NOT_SUSPECT_SMALL)
    for word in _SUSPECT_SMALL:
        if word.strip() in short and word in text.translate(_IN_SMALL, b"_-"):
            return True
    return _has_beginning(text) or _has_url(text) or b"\\u00" in text or b"-----BEGIN " in text


def _has_beginning(text: bytes) -> bool:
    """Whether there is one of `PREFIXED` that ends in a dash or an underscore."""
    for separator, endings, last_two in _BEFORE:
        if text.count(separator) > _MAX_PARTS:
            return True
        for part in text.split(separator):
            if part[-2:] in last_two and part.endswith(endings):
                return True
    return False


def _has_url(text: bytes) -> bool:
    """Whether there may be one with parameters or with a password."""
    if b"=" in text and (b"?" in text or b"&" in text):
        return True
    return b"@" in text and (b"://" in text or b"\\/" in text)


def text(value: str) -> str:
    """The text without its secrets; without all of it, where it names more than `MAX_NAMED`."""
    try:
        return _text(value)
    except TooMany:
        return "[REDACTED:too_many]"


def json_text(value: str) -> str:
    """The same for valid JSON, which stays valid. Secrets spelled with escapes are found, too."""
    if "\\u00" in value or "\\/" in value:
        value = _without_escapes(value)
    try:
        return _text(value)
    except TooMany:
        return '{"redacted":"[REDACTED:too_many]"}'


def _text(value: str) -> str:
    value, small = _without_named(value, _small(value))
    for literals, kind, pattern in IN_CONTEXT:
        if any(literal in small for literal in literals):
            value, small = _cut(value, small, kind, pattern)
    if "=" in value:
        value = VARIABLE.sub(r"\1[REDACTED:variable]", value)
    if "-----BEGIN " in value:
        value = PEM.sub("[REDACTED:pem]", value)
    for literal, pattern, replacement in PREFIXED:
        if literal in value:
            value = pattern.sub(replacement, value)
    return value


def _small(value: str) -> str:
    """In small letters, each at its place: `lower` makes two of some letters."""
    small = value.lower()
    return small if len(small) == len(value) else value.translate(_ASCII_SMALL)


def _without_escapes(value: str) -> str:
    """JSON with its escapes of ASCII undone, but for those that JSON needs."""
    value = value.replace("\\\\", "\0")  # no valid JSON has a bare NUL
    for escape in set(_ASCII_ESCAPE.findall(value)):
        value = value.replace(escape, chr(int(escape[2:], 16)))
    return value.replace("\\/", "/").replace("\0", "\\\\")


def _cut(value: str, small: str, kind: str, pattern: re.Pattern[str]) -> tuple[str, str]:
    """Replaces the last group of each match."""
    parts: list[str] = []
    done = 0
    for number, match in enumerate(pattern.finditer(small)):
        if number > MAX_NAMED:
            raise TooMany
        parts += (value[done : match.start(1)], f"[REDACTED:{kind}]")
        done = match.end(1)
    if not parts:
        return value, small
    value = "".join((*parts, value[done:]))
    return value, _small(value)


def _without_named(value: str, small: str) -> tuple[str, str]:
    """Replaces the values beside names of secrets, strings as well as objects and arrays."""
    if not any(word in small for word in _KEY_WORDS):
        return value, small
    parts: list[str] = []
    done = 0
    for number, match in enumerate(KEY.finditer(small)):
        if number > MAX_NAMED:
            raise TooMany
        if match.start() < done:
            continue  # inside a value that was replaced
        start, end, quote = match.start(2), match.end(2), match[1]
        if quote != '"' or start < 0:  # after another quote this one ends the text around it
            start = match.end()
            end = value_end(value, start, quote)
        name = small[match.start() : match.start(1)]
        if end > start and not (name == "token" and value[start].isdigit()):  # a number of tokens
            parts += (value[done:start], f"{quote}[REDACTED:{name.replace('-', '_')}]{quote}")
            done = end
    if not parts:
        return value, small
    value = "".join((*parts, value[done:]))
    return value, _small(value)
