"""What a remote's answer means for the rows of a batch: the table of contract section 6. Pure."""

import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from tracer import redact

MAX_RETRY_AFTER_S: Final = 3600.0

_NONE: Final[Mapping[str, str]] = {}


class Outcome(StrEnum):
    """The five things that can come of a batch."""

    CONFIRMED = "confirmed"
    KEPT = "kept"  # it may or may not have arrived: the same batch goes again, later
    MISCONFIGURED = "misconfigured"  # kept as well, and only its owner can mend that
    BAD_ROWS = "bad_rows"  # some row of it is refused: smaller batches will show which
    TOO_LARGE = "too_large"


class Answer(NamedTuple):
    """`error` is a sentence without the URL, which may hold a secret.

    `retry_after_s`: the remote does not want to be asked before. `rejected`: rows it will not take
    though it took the batch, `trace_id` → why. `body` is the beginning of a good answer.
    """

    outcome: Outcome
    http_status: int | None
    error: str | None
    retry_after_s: float = 0.0
    rejected: Mapping[str, str] = _NONE
    body: bytes = b""


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """`body` is the beginning of the answer, as it came over the wire."""
    if 200 <= status < 300:
        return Answer(Outcome.CONFIRMED, status, None, rejected=_rejected(body), body=body)
    error = f"the remote answered {status}"
    if status == 413:
        outcome = Outcome.TOO_LARGE
    elif status in (400, 409, 422):
        outcome = Outcome.BAD_ROWS
    elif status in (408, 425, 429) or status >= 500:
        outcome = Outcome.KEPT
    else:
        outcome = Outcome.MISCONFIGURED
        error += _advice(status)
    return Answer(outcome, status, error, retry_after_s(headers.get("Retry-After", "")))


def retry_after_s(value: str) -> float:
    """Seconds to wait (RFC 9110, 10.2.3): a number or an HTTP date; junk and the past are 0.

    A date is compared with the wall clock, so the cap also bounds what a wrong clock can do.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            parsed = parsedate_tz(value)
            # Without a zone it is GMT, as all HTTP dates are.
            seconds = mktime_tz((*parsed[:9], parsed[9] or 0)) - time.time() if parsed else 0.0
        except (ValueError, TypeError, OverflowError, IndexError):
            seconds = 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _advice(status: int) -> str:
    if status in (401, 403):
        return ": check TRACE_PUSH_API_KEY"
    if status == 407:
        return ": check TRACE_PUSH_PROXY"
    if 300 <= status < 400:
        return ": a redirect is never followed, check TRACE_PUSH_ENDPOINT"
    return ": check TRACE_PUSH_ENDPOINT"


def _rejected(body: bytes) -> Mapping[str, str]:
    """Of `{"rejected":[{"trace_id","reason"}]}`, what can be read; any other body means nothing."""
    if b'"rejected"' not in body:
        return _NONE
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _cut_short(body)
    return _listed(answer)


def _cut_short(body: bytes) -> Mapping[str, str]:
    """The complete items of a list that was too long to be read to its end."""
    try:
        return _listed(msgspec.json.decode(body[: body.rfind(b"}") + 1] + b"]}"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NONE


def _listed(answer: Any) -> Mapping[str, str]:
    items = answer.get("rejected") if isinstance(answer, dict) else None
    return {
        item["trace_id"]: redact.text(f"rejected: {item.get('reason') or 'no reason given'}")
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get("trace_id"), str)
    }
