"""The bounded queue between those who report events and the writer."""

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final, NamedTuple

from tracer.decoder import Record
from tracer.errors import TracerError
from tracer.ledger import Ledger, Loss, Rejection

OLDEST_PENDING_S: Final = 1.0
"""A 202 is a promise with a date: none is given while an older event is not yet on disk."""


class NotTaken(TracerError):
    """An offer was refused; nothing of it was taken, and it is counted in the ledger.

    `reason` says whether trying again makes sense: TOO_LARGE never, QUEUE_FULL and UNAVAILABLE
    later.
    """

    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Receipt:
    """Lets one caller wait until all events of its offer are committed, or lost."""

    def __init__(self, count: int) -> None:
        self._open = count
        self._settled = threading.Event()
        self.lost = 0

    def settle(self, lost: bool) -> None:
        """Called by the writer, once per event."""
        self._open -= 1
        self.lost += lost
        if self._open == 0:
            self._settled.set()

    def wait(self, timeout_s: float) -> bool:
        """Blocks; whether all were settled in time."""
        return self._settled.wait(timeout_s)


class _Pending(NamedTuple):
    record: Record
    offered_at: float  # monotonic
    receipt: Receipt | None


class Intake:
    """Holds accepted events until they are committed, bounded in events and in bytes.

    Many threads `offer`; one thread takes and settles. What was taken stays queued until it is
    settled: after a failed commit `take` gives the same events again. Refuses all until `admit`.
    """

    def __init__(self, ledger: Ledger, *, capacity: int, max_bytes: int, batch_size: int) -> None:
        self.capacity = capacity
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._batch_size = batch_size
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._lock = threading.Lock()  # entering it runs no Python code, a Condition does
        self._changed = threading.Condition(self._lock)
        self._taker_is_idle = False
        self._is_urgent = False
        self._refusal: str | None = "the database is not open yet, try again"
        self._is_closed = False
        self.trouble: str | None = None
        """Why commits fail at present, in words; set by the writer, shown to callers."""

    def check(self, count: int) -> None:
        """Raises NotTaken when `count` events would be refused anyway: saves reading them."""
        with self._lock:
            self._refuse_unless_room(count, 0)

    def would_take(self, count: int) -> bool:
        """Whether `count` small events have room now. Unlike a refused offer it counts nothing: for
        those who can wait.
        """
        with self._lock:
            return self._why_not(count, 0) is None

    def offer(self, records: Sequence[Record], *, receipt: Receipt | None = None) -> None:
        """Takes all of them or raises NotTaken. Never blocks on the disk."""
        size_bytes = sum(record.size_bytes for record in records)
        with self._lock:
            self._refuse_unless_room(len(records), size_bytes)
            now = time.monotonic()
            self._ledger.accept(len(records))
            self._pending.extend(_Pending(record, now, receipt) for record in records)
            self._bytes += size_bytes
            self._is_urgent |= receipt is not None
            if self._taker_is_idle or self._is_urgent or len(self._pending) >= self._batch_size:
                self._changed.notify_all()

    def _refuse_unless_room(self, count: int, size_bytes: int) -> None:
        refusal = self._why_not(count, size_bytes)
        if refusal is not None:
            self._ledger.reject(refusal.reason, count)
            raise refusal

    def _why_not(self, count: int, size_bytes: int) -> NotTaken | None:
        pending, reason, why = self._pending, Rejection.UNAVAILABLE, self._refusal
        if count > self.capacity:
            reason, why = Rejection.TOO_LARGE, f"more than the {self.capacity} events of the queue"
        elif why is None and pending:  # an empty queue takes any legal body
            if time.monotonic() - pending[0].offered_at > OLDEST_PENDING_S:
                why = self.trouble or "the database is behind, try again"
            elif len(pending) + count > self.capacity or self._bytes + size_bytes > self._max_bytes:
                reason, why = Rejection.QUEUE_FULL, "the queue is full, try again"
        return None if why is None else NotTaken(reason, why)

    def take(self, *, not_before: float, timeout_s: float) -> list[Record]:
        """The oldest events, at most a batch; blocks until there are some.

        Before `not_before` (monotonic) only a full batch, an event somebody waits for or `wake`
        ends the wait. Returns an empty list after `timeout_s` or `wake`.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while True:
                now = time.monotonic()
                if self._is_urgent or len(self._pending) >= self._batch_size:
                    break
                if now < not_before:
                    self._changed.wait(not_before - now)
                elif self._pending or now >= deadline:
                    break
                else:
                    self._taker_is_idle = True
                    self._changed.wait(deadline - now)
                    self._taker_is_idle = False
            self._is_urgent = False
            return [pending.record for pending in islice(self._pending, self._batch_size)]

    def settle(self, count: int, stored: int, lost: Collection[int] = ()) -> None:
        """The last batch taken, of `count` events, is done.

        `stored` rows are new, the positions in `lost` failed, the rest were duplicates. Counts
        them in the ledger and tells those who wait.
        """
        with self._lock:
            self._settle(count, stored, lost, Loss.ROW_REFUSED)

    def abandon(self) -> int:
        """Gives up what is still queued, counted as lost; how many. The taker's to call."""
        with self._lock:
            count = len(self._pending)
            if count:
                self._settle(count, 0, range(count), Loss.SHUTDOWN)
            return count

    def _settle(self, count: int, stored: int, lost: Collection[int], reason: Loss) -> None:
        for position in range(count):
            done = self._pending.popleft()
            self._bytes -= done.record.size_bytes
            if done.receipt is not None:
                done.receipt.settle(position in lost)
        self._ledger.settle(stored, count - stored - len(lost), len(lost), reason)
        self._changed.notify_all()

    def refuse(self, why: str) -> None:
        """Until `admit` every offer is refused with this sentence."""
        with self._lock:
            if not self._is_closed:
                self._refusal = why

    def admit(self) -> None:
        """Ends `refuse`, unless the intake was closed."""
        with self._lock:
            if not self._is_closed:
                self._refusal = None

    def close(self) -> None:
        """Nothing is accepted any more, whatever happens."""
        with self._lock:
            self._is_closed = True
            self._refusal = "shutting down"

    def wake(self) -> None:
        """Ends the taker's wait: it has something else to do."""
        with self._lock:
            self._is_urgent = True
            self._changed.notify_all()

    def drained(self, timeout_s: float) -> bool:
        """Blocks until nothing is queued; whether that came true in time."""
        with self._lock:
            self._is_urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def __len__(self) -> int:
        return len(self._pending)

    def is_full(self) -> bool:
        """Whether a single small event would be refused for lack of room."""
        return len(self._pending) >= self.capacity or self._bytes >= self._max_bytes
