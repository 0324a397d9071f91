"""Counts what became of every event, so that the sum always adds up (contract section 5).

`received = accepted + Σrejected` and `accepted = stored + duplicate + queued + Σlost`, at any
instant and in any thread: each method moves events between places under one lock.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypedDict


class Rejection(StrEnum):
    """Why something received was not accepted. The closed list."""

    NOT_JSON = "not_json"
    INVALID_UTF8 = "invalid_utf8"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    OUT_OF_RANGE = "out_of_range"
    TOO_DEEP = "too_deep"
    MISSING_FIELD = "missing_field"
    EMPTY = "empty"
    INCOMPLETE = "incomplete"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    UNAVAILABLE = "unavailable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    INTERNAL = "internal"


class Loss(StrEnum):
    """Why something accepted was not stored. The closed list."""

    ROW_REFUSED = "row_refused"  # SQLite refused this one row and took its neighbours
    SHUTDOWN = "shutdown"  # still queued when the time to stop ran out


class Deletion(StrEnum):
    """Why a stored row was deleted; with `_unpushed` behind it when no remote had it. The closed
    list.
    """

    AGE = "age"  # older than TRACE_RETENTION_DAYS
    SIZE = "size"  # the database was above TRACE_MAX_DB_BYTES
    VOLUME = "volume"  # the volume was above TRACE_DISK_MAX_PERCENT
    DAMAGE = "damage"  # on pages that could not be read


class EventCounts(TypedDict):
    """One consistent reading of the ledger."""

    received: int
    accepted: int
    rejected: dict[str, int]
    stored: int
    duplicate: int
    queued: int
    lost: dict[str, int]


class Ledger:
    """The counters of this process; the database keeps its own (`schema.RowCount`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accepted = self._stored = self._duplicate = self._queued = 0
        self._rejected: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def accept(self, count: int) -> None:
        """Events entered the queue."""
        with self._lock:
            self._accepted += count
            self._queued += count

    def reject(self, reason: Rejection, count: int = 1) -> None:
        """Events, or a body that could not be read (counts as one), were refused."""
        with self._lock:
            self._rejected[reason] += count

    def settle(self, stored: int, duplicate: int, lost: int, reason: Loss) -> None:
        """Events left the queue: committed, already known, or given up for `reason`."""
        with self._lock:
            self._queued -= stored + duplicate + lost
            self._stored += stored
            self._duplicate += duplicate
            if lost:
                self._lost[reason] += lost

    def lost(self) -> dict[str, int]:
        """Losses by reason since the process started."""
        with self._lock:
            return dict(self._lost)

    def counts(self) -> EventCounts:
        """All counters at one instant."""
        with self._lock:
            return EventCounts(
                received=self._accepted + self._rejected.total(),
                accepted=self._accepted,
                rejected=dict(self._rejected),
                stored=self._stored,
                duplicate=self._duplicate,
                queued=self._queued,
                lost=dict(self._lost),
            )


def row_counts(counts: Mapping[str, int]) -> dict[str, Any]:
    """The persistent counters as the contract names them; `deleted.<reason>` becomes a group. Once
    there is something, `deleted_by_table` says the same in more detail.
    """
    prefix, by_table = "deleted.", "deleted_by_table."
    rows: dict[str, Any] = {
        name: counts.get(name, 0) for name in ("stored", "pushed", "unpushed", "refused")
    }
    rows["deleted"] = {
        name.removeprefix(prefix): value
        for name, value in counts.items()
        if name.startswith(prefix)
    }
    tables: dict[str, dict[str, int]] = {}
    for name, value in counts.items():
        if name.startswith(by_table):
            table, _, reason = name.removeprefix(by_table).partition(".")
            tables.setdefault(table, {})[reason] = value
    if tables:
        rows["deleted_by_table"] = tables
    return rows
