"""The push thread's work: what no remote has confirmed yet goes out, oldest first."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

from tracer.answer import Answer, Outcome
from tracer.bisection import Bisection
from tracer.breaker import Breaker
from tracer.encoders.batch import Batch, Encoder
from tracer.errors import StoreError
from tracer.handover import pausing
from tracer.outbox import all_of, unreported
from tracer.remote import Remote
from tracer.rows import IdRanges, Intent, PushAttempt, ranges_of
from tracer.store import Store
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

LOG_SHARE_S: Final = 0.1
"""What the push keeps of its last time for noting what came of it."""

_STATUSES: Final = {
    Outcome.CONFIRMED: "success",
    Outcome.KEPT: "failed",
    Outcome.MISCONFIGURED: "failed",
}
"""`status` in the push log; the other outcomes are `refused`."""


class _Draft(NamedTuple):
    """A batch ready to send."""

    batch: Batch
    intent: Intent
    generation: int  # of the database it was read from


class Push:
    """Sends batches until nothing is left. The database is the retry queue: a batch that was not
    confirmed stays unpushed, and only the wait until the next pass changes.
    """

    def __init__(
        self,
        store: Store,
        remote: Remote,
        encoder: Encoder,
        breaker: Breaker,
        write: Callable[[Callable[[Store], Any]], Any],
        *,
        agent_id: str,
        max_bytes: int,
        timeout_s: float,
    ) -> None:
        self.last_push_at: int | None = None
        self.last_status: str | None = None
        """`success`, or `failed: ` and why."""
        self.breaker = breaker
        self._store = store
        self._remote = remote
        self._encoder = encoder
        self._write = write
        self._agent_id = agent_id
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._refuses_all = False
        self._end_by: float | None = None

    def run_once(self, by: float | None = None) -> float | None:
        """One pass: batches until nothing is left, one fails, or it is `by` (monotonic).

        Blocks on the network. Returns None after success, else the seconds to wait. What arrives
        during the last batch has to wait for the next pass, or a pass under steady traffic would
        never end.
        """
        if (wait_s := self.breaker.wait_s()) > 0:
            return wait_s
        self.breaker.begin()
        try:
            failure = self._run_pass(by)
            if failure is None:
                return None
            reason = failure.error or "not said"
            opens = failure.outcome is not Outcome.KEPT
            self._note(f"failed: {reason}", logging.ERROR if opens else logging.WARNING)
            return self.breaker.fail(reason, retry_after_s=failure.retry_after_s, opens=opens)
        finally:
            self.breaker.end()
            self._remote.close()

    def end_by(self, by: float) -> None:
        """No request is begun, nor goes on, after `by` (monotonic), less what is kept for noting
        what came of it. Any thread.
        """
        self._end_by = by - LOG_SHARE_S
        self._remote.end_by(self._end_by)

    def finish(self, by: float) -> None:
        """The last pass: ends by `by` (monotonic), its note in the push log included, and that of
        a pass that was cut short before.
        """
        self.run_once(by - 2 * LOG_SHARE_S)

    def _run_pass(self, by: float | None) -> Answer | None:
        """Sends batch after batch; the answer that ended it before its time."""
        bisection = Bisection(self._store.outbox.newest)
        drafts = self._drafts(bisection)
        while self._time_left_s(by) > 0 and (draft := next(drafts, None)) is not None:
            answer, rows = self._send(draft, by), draft.batch.rows
            del draft  # no body is held while the next one is made
            if answer.outcome is Outcome.CONFIRMED:
                self._note("success")
                self._refuses_all = False
                if len(answer.rejected) < len(rows):
                    bisection.accepted()
            elif answer.outcome not in (Outcome.BAD_ROWS, Outcome.TOO_LARGE):
                return answer
            elif not bisection.refused(rows, answer.error or ""):
                self._refuses_all = True
                return answer._replace(error=f"{answer.error}, whatever it was sent")
            self._set_aside(bisection.proven)
        return None

    def _drafts(self, bisection: Bisection) -> Iterator[_Draft]:
        """What a pass sends, one after the other: the batch that may have arrived, with the same
        rows, so with the same id, whatever has been stored since; the segments that `bisection`
        asks for; the oldest rows.
        """
        if not self._store.row_counts.get("unpushed"):
            return
        intent = self._store.outbox.intent()
        if intent is not None and (draft := self._encode(intent.ranges, intent)) is not None:
            yield draft
            draft = None
        elif self._refuses_all:
            bisection.probe()
        lanes = [all_of(kinds) for kinds in self._encoder.LANES]
        while lanes or bisection.segments:
            if bisection.segments:
                draft = self._encode(bisection.segments.pop())
            else:
                draft = self._encode(lanes[0])
                if draft is None or not draft.batch.has_more:
                    del lanes[0]
            if draft is not None:  # else deleted meanwhile
                yield draft
                draft = None

    def _encode(self, among: IdRanges, intent: Intent | None = None) -> _Draft | None:
        """A batch of these rows, as many as fit; `intent` when it was begun before."""
        generation = self._store.generation
        sent_at = now_ms() if intent is None else intent.sent_at
        dropped = unreported(self._store.row_counts) if intent is None else intent.dropped
        with closing(self._store.outbox.rows(among)) as rows:
            batch = self._encoder.encode_batch(
                pausing(rows),
                agent_id=self._agent_id,
                sent_at=sent_at,
                dropped=dropped,
                max_bytes=self._max_bytes,
            )
        if batch is None:
            return None
        if intent is None or intent.batch_id != batch.batch_id:
            intent = Intent(batch.batch_id, sent_at, 1, ranges_of(batch.rows), dropped)
        return _Draft(batch, intent, generation)

    def _send(self, draft: _Draft, by: float | None) -> Answer:
        """Sends one batch and notes what came of it."""
        batch, intent, generation = draft
        if intent.attempt == 1:
            self._write(lambda store: _begin(store, intent, generation))
        timeout_s = self._time_left_s(by)
        started = time.monotonic()
        if timeout_s > 0:
            answer = self._remote.send(batch, timeout_s)
        else:
            answer = Answer(Outcome.KEPT, None, "no time was left for it")
        attempt = PushAttempt(
            batch_id=batch.batch_id,
            created_at=now_ms(),
            status=_STATUSES.get(answer.outcome, "refused"),
            http_status=answer.http_status,
            events_pushed=0,
            bytes=len(batch.body),
            duration_ms=round((time.monotonic() - started) * 1000),
            attempt=intent.attempt,
            error_message=answer.error,
        )
        opens = answer.outcome is Outcome.MISCONFIGURED
        if attempt.status == "failed" and self.breaker.is_opened_by(opens=opens):
            attempt = attempt._replace(error_message=f"{answer.error}; the circuit is open")
        if answer.outcome is Outcome.CONFIRMED:
            if (why := self._encoder.partial_failure(batch, answer.body)) is not None:
                log.warning("push: %s", why)
                attempt = attempt._replace(error_message=why)
            self._confirm(intent, attempt, answer)
        elif answer.outcome is Outcome.KEPT:
            self._write(lambda store: store.outbox.keep(attempt))
        else:
            self._write(lambda store: store.outbox.give_back(attempt))
        self.last_push_at = attempt.created_at
        return answer

    def _confirm(self, intent: Intent, attempt: PushAttempt, answer: Answer) -> None:
        refused = self._write(lambda store: store.outbox.confirm(intent, attempt, answer.rejected))
        if refused:
            log.warning("the remote rejected %d rows of a batch it took", refused)
        self.breaker.succeed()

    def _set_aside(self, proven: list[tuple[IdRanges, str]]) -> None:
        """Rows the remote will never take. Empties the list."""
        if proven:
            refused = self._write(lambda store: store.outbox.refuse(proven))
            log.warning("the remote refuses %d rows for good: %s", refused, proven[0][1])
            proven.clear()

    def _time_left_s(self, by: float | None) -> float:
        ends = [end for end in (by, self._end_by) if end is not None]
        return min([self._timeout_s, *(end - time.monotonic() for end in ends)])

    def _note(self, status: str, level: int = logging.INFO) -> None:
        """Keeps what `/health` shows; logs a change of state, not every pass."""
        if status != self.last_status:
            log.log(level, "push: %s", status)
        self.last_status = status


def _begin(store: Store, intent: Intent, generation: int) -> None:
    """Runs in the writer's thread. Raises StoreError when the rows were read from another file."""
    if store.generation != generation:
        raise StoreError("the database was opened anew, its rows may be others: not sent")
    store.outbox.begin(intent)
