"""Writes the few kinds of protobuf fields that our messages need (protobuf.dev, Encoding). Pure."""

from collections.abc import Iterable
from typing import Final

_VARINT: Final = 0
_BYTES: Final = 2


def field(number: int, value: int | bytes) -> bytes:
    """One field of a message: a number, or text, bytes or another message as bytes."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def packed(number: int, values: Iterable[int]) -> bytes:
    """A repeated field of numbers."""
    return field(number, b"".join(varint(value) for value in values))


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers are two's complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
