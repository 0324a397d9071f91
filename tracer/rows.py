"""What goes between the store and the push: rows on their way out, and what came of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tracer.events import Event


class UnpushedRow(NamedTuple):
    """A row of `kind`; `values` follow `kind.stored_columns()`."""

    kind: type[Event]
    id: int
    received_at: int
    values: list[Any]


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


IdRanges = Mapping[type[Event], tuple[int, int]]
"""The first and last id of each kind in a batch: all unpushed rows between them are in it."""
