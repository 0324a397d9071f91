"""The push thread's work: what no remote has confirmed yet goes out, oldest first."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from tracer import retention
from tracer.encoders import native
from tracer.ledger import Ledger
from tracer.remote import Answer, Outcome, Remote
from tracer.rows import IdRanges, PushAttempt
from tracer.store import Store
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 1.0
LAST_BACKOFF_S: Final = 300.0
LOG_SHARE_S: Final = 0.1


class Push:
    """Sends batches until nothing is left. The database is the retry queue: a batch that was not
    confirmed stays unpushed, and only the wait until the next pass changes.
    """

    def __init__(
        self,
        store: Store,
        remote: Remote,
        ledger: Ledger,
        write: Callable[[Callable[[Store], Any]], Any],
        *,
        agent_id: str,
        max_bytes: int,
        timeout_s: float,
    ) -> None:
        self.last_push_at: int | None = None
        self.last_status: str | None = None
        """`success`, or `failed: ` and why."""
        self.failed_passes = 0
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self._write = write
        self._agent_id = agent_id
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._reported_losses: Counter[str] = Counter()
        self._dropped_rows: dict[str, int] = {}
        self._unconfirmed: IdRanges | None = None
        self._generation = 0
        self._end_by: float | None = None

    def run_once(self, by: float | None = None) -> float | None:
        """One pass: batches until nothing is left, one fails, or it is `by` (monotonic).

        Blocks on the network. Returns None after success, else the seconds to wait: full jitter,
        so that a fleet does not come back as one. What arrives during the last batch has to wait
        for the next pass, or a pass under steady traffic would never end.
        """
        try:
            while self._time_left_s(by) > 0 and (batch := self._next_batch()) is not None:
                if not self._deliver(batch, self._time_left_s(by)):
                    return self._back_off()
                if not batch.has_more:
                    break
        finally:
            self._remote.close()
        self.failed_passes = 0
        return None

    def end_by(self, by: float) -> None:
        """No request is begun after `by` (monotonic). Any thread."""
        self._end_by = by

    def finish(self, by: float) -> None:
        """The last pass: ends by `by` (monotonic), its note in the push log included."""
        self.run_once(by - LOG_SHARE_S)

    def _next_batch(self) -> native.Batch | None:
        """What to send now. A batch that was not confirmed comes again with the same rows, so with
        the same id, whatever has arrived since.
        """
        if not self._store.row_counts.get("unpushed"):
            return None
        if self._generation != self._store.generation:
            self._generation, self._unconfirmed = self._store.generation, None
        unconfirmed = self._unconfirmed
        self._dropped_rows = retention.unreported(self._store.row_counts)
        with closing(self._store.unpushed(unconfirmed)) as rows:
            batch = native.encode_batch(
                rows,
                agent_id=self._agent_id,
                sent_at=now_ms(),
                dropped=Counter(self._ledger.lost())
                - self._reported_losses
                + Counter(self._dropped_rows),
                max_bytes=self._max_bytes,
            )
        self._unconfirmed = None
        return batch if batch is None or unconfirmed is None else batch._replace(has_more=True)

    def _deliver(self, batch: native.Batch, timeout_s: float) -> bool:
        """Sends one batch and notes what came of it; whether it was confirmed."""
        losses = Counter(self._ledger.lost())
        started = time.monotonic()
        answer = self._remote.send(batch.body, batch.batch_id, timeout_s)
        is_confirmed = answer.outcome is Outcome.CONFIRMED
        attempt = PushAttempt(
            batch_id=batch.batch_id,
            created_at=now_ms(),
            status="success" if is_confirmed else "failed",
            http_status=answer.http_status,
            events_pushed=batch.size if is_confirmed else 0,
            bytes=len(batch.body),
            duration_ms=round((time.monotonic() - started) * 1000),
            attempt=self.failed_passes + 1,
            error_message=answer.error,
        )
        if is_confirmed:
            generation, told = self._generation, self._dropped_rows
            self._write(lambda store: store.mark_pushed(batch.ranges, attempt, generation, told))
            self._reported_losses = losses
        else:
            self._unconfirmed = batch.ranges
            self._write(lambda store: store.log_push(attempt))
        self._note(answer, attempt)
        return is_confirmed

    def _time_left_s(self, by: float | None) -> float:
        ends = [end for end in (by, self._end_by) if end is not None]
        return min([self._timeout_s, *(end - time.monotonic() for end in ends)])

    def _back_off(self) -> float:
        self.failed_passes += 1
        longest_s = min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self.failed_passes - 1, 30))
        return random.uniform(0, longest_s)

    def _note(self, answer: Answer, attempt: PushAttempt) -> None:
        """Keeps what `/health` shows; logs a change of state, not every pass."""
        status = "success" if answer.error is None else f"failed: {answer.error}"
        if status != self.last_status:
            level = logging.INFO if answer.error is None else logging.WARNING
            log.log(level, "push: %s", status)
        self.last_push_at, self.last_status = attempt.created_at, status
