"""The push thread's work: what no remote has confirmed yet goes out, oldest first."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from tracer.encoders import native
from tracer.ledger import Ledger
from tracer.remote import Answer, Outcome, Remote
from tracer.rows import PushAttempt
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

    def run_once(self, by: float | None = None) -> float | None:
        """One pass: batches until nothing is left, one fails, or it is `by` (monotonic).

        Blocks on the network. Returns None after success, else the seconds to wait: full jitter,
        so that a fleet does not come back as one.
        """
        if not self._store.row_counts.get("unpushed"):
            return None
        try:
            while (is_confirmed := self._push_batch(by)) is not None:
                if not is_confirmed:
                    return self._back_off()
        finally:
            self._remote.close()
        self.failed_passes = 0
        return None

    def finish(self, by: float) -> None:
        """The last pass: ends by `by` (monotonic), its note in the push log included."""
        self.run_once(by - LOG_SHARE_S)

    def _push_batch(self, by: float | None) -> bool | None:
        """Sends one batch; whether it was confirmed, or None when there was nothing to send."""
        timeout_s = self._timeout_s if by is None else min(self._timeout_s, by - time.monotonic())
        if timeout_s <= 0:
            return None
        losses = Counter(self._ledger.lost())
        with closing(self._store.unpushed()) as rows:
            batch = native.encode_batch(
                rows,
                agent_id=self._agent_id,
                sent_at=now_ms(),
                dropped=losses - self._reported_losses,
                max_bytes=self._max_bytes,
            )
        if batch is None:
            return None
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
            self._write(lambda store: store.mark_pushed(batch.ranges, attempt))
            self._reported_losses = losses
        else:
            self._write(lambda store: store.log_push(attempt))
        self._note(answer, attempt)
        return is_confirmed

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
