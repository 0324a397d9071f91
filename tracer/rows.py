"""What goes between the store and the push: rows on their way out, and what came of it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tracer.events import Event

IdRanges = Mapping[type[Event], tuple[int, int]]
"""The first and last id of each kind in a batch: all unpushed rows between them are in it."""


def ranges_of(rows: Iterable[tuple[type[Event], int]]) -> IdRanges:
    """Those of rows (kind and id) that follow each other in a batch."""
    ranges: dict[type[Event], tuple[int, int]] = {}
    for kind, row_id in rows:
        ranges[kind] = (ranges.get(kind, (row_id,))[0], row_id)
    return ranges


class UnpushedRow(NamedTuple):
    """A row of `kind`; `values` follow `kind.stored_columns()`."""

    kind: type[Event]
    id: int
    received_at: int
    values: list[Any]


class Intent(NamedTuple):
    """What is about to be sent, noted before it is: a batch whose answer got lost, also by a crash,
    goes again with the same rows, `sent_at` and `dropped`, so byte by byte.

    `attempt` counts its tries, from 1.
    """

    batch_id: str
    sent_at: int
    attempt: int
    ranges: IdRanges
    dropped: Mapping[str, int]


class PushAttempt(NamedTuple):
    """One row of `push_log`, without its id."""

    batch_id: str
    created_at: int
    status: str
    http_status: int | None
    events_pushed: int
    bytes: int
    duration_ms: int
    attempt: int
    error_message: str | None
