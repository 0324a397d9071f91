"""Reads the times agents send. Inside, a time is an integer: milliseconds since the epoch, UTC."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from tracer.errors import EventError
from tracer.ledger import Rejection

SECONDS_BELOW: Final = 1e11
"""A smaller number is epoch seconds (until the year 5138), a larger one epoch milliseconds."""

LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999. Microseconds and nanoseconds of today are beyond it, and refused."""

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|d)", re.ASCII)
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def parse_ms(value: str | float) -> int:
    """ISO 8601 (without zone: UTC), epoch seconds or epoch milliseconds, also as a string.

    Raises EventError, without a field.
    """
    if isinstance(value, str):
        if re.fullmatch(r"-?\d+(\.\d+)?([eE]\+?\d{1,3})?", value, re.ASCII) is None:
            return _parse_iso_ms(value)
        number = float(value)
    else:
        number = value
    milliseconds = number * 1000 if abs(number) < SECONDS_BELOW else number
    if not 0 <= milliseconds <= LATEST_MS:  # also false for NaN
        raise EventError(
            Rejection.OUT_OF_RANGE, f"{value!s:.40} is neither epoch seconds nor epoch milliseconds"
        )
    return round(milliseconds)


def parse_bound_ms(text: str, now: int) -> int:
    """What `parse_ms` takes, or a duration before `now` such as `7d`, `2h`, `90s`.

    The plus of a zone may have become a space, as it does in a query string. Raises EventError.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return max(0, round(now - float(ago[1]) * _UNITS_MS[ago[2]]))
    if "T" in text:
        text = _LOST_PLUS.sub("+", text)
    return parse_ms(text)


def _parse_iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise EventError(
            Rejection.BAD_VALUE, f"{text[:40]!r} is neither ISO 8601 nor an epoch time"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise EventError(Rejection.OUT_OF_RANGE, f"{text[:40]!r} is before 1970")
    return milliseconds
