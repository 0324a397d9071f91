"""The writer: the only thread that writes to the database."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from tracer import maintenance, store_file
from tracer.decoder import Record
from tracer.errors import StoreError, StoreLocked
from tracer.intake import Intake
from tracer.ledger import Loss
from tracer.store import Store

log = logging.getLogger(__name__)

COMMIT_PACE_S: Final = 0.05
"""Shortest time between two commits of small batches. An idle writer commits at once."""

IDLE_WAIT_S: Final = 5.0
RETRY_OPEN_S: Final = 10.0
RETRY_LOCKED_S: Final = 0.1
"""A predecessor that leaves, at a reload, holds the lock for moments."""
RETRY_WRITE_S: Final = 0.5
ASK_AGAIN_S: Final = 10.0
"""Between two requests to the janitor while the database is full."""
LOOK_AHEAD_S: Final = 1.0
NEARLY_FULL: Final = 0.9
"""Share of the limit at which room is asked for."""
CLOSE_S: Final = 0.1
"""What `finish` keeps of its time for counting losses and closing."""
JOB_TIMEOUT_S: Final = 30.0

WriteJob = Callable[[Store], Any]
"""A write of another thread, run in the writer's."""


class _Request:
    def __init__(self, job: WriteJob) -> None:
        self.job = job
        self.done = threading.Event()
        self.result: Any = None
        self.error: Exception | None = None
        self.is_cancelled = False

    def finish(self, result: Any = None, error: Exception | None = None) -> None:
        """Lets the thread that asked go on."""
        self.result, self.error = result, error
        self.done.set()


class Writer:
    """Opens the store, commits what the intake holds, and runs the writes of other threads.

    An event leaves the intake only once it is committed, so a failed commit loses nothing: it is
    tried again until it succeeds, and the intake refuses new events meanwhile.
    """

    def __init__(
        self,
        store: Store,
        intake: Intake,
        *,
        window_s: float,
        report: Callable[[str], None],
        ask_for_room: Callable[[], None] = lambda: None,
        on_stored: Callable[[Iterable[Record]], None] | None = None,
    ) -> None:
        self.database_status = "opening"
        """`ok`, or why the database cannot be used, in words."""
        self._store = store
        self._intake = intake
        self._pace_s = min(COMMIT_PACE_S, window_s)
        self._report = report
        self._ask_for_room = ask_for_room
        self._is_full = False
        self._asked_at = 0.0
        self._looked_at = 0.0
        self._on_stored = on_stored
        self._requests: deque[_Request] = deque()
        self._committed_at = 0.0

    def run_once(self) -> float | None:
        """One step: open the store, or wait for something to write and write it.

        Blocks up to `IDLE_WAIT_S`. Returns the wait before the next try after a failure, else None.
        """
        if not self._store.is_open:
            return self._open()
        records = self._intake.take(
            not_before=self._committed_at + self._pace_s, timeout_s=IDLE_WAIT_S
        )
        if self._store.is_gone():
            self._store.close()
            self._store.notices.append(
                "the database file or its write-ahead log was deleted or replaced: opened it anew"
            )
            return self._open()
        try:
            has_room = not self._is_full or self._look_for_room()
            if records:
                self._commit(records)
            if has_room:
                self._note_success()
        except Exception as error:
            self._write_failed(error)
            return RETRY_WRITE_S
        else:
            return None
        finally:
            # Also after a failure: a delete may be what makes room.
            while self._requests and self._store.is_open:
                self._serve(self._requests.popleft())

    def perform(self, job: WriteJob, timeout_s: float = JOB_TIMEOUT_S) -> Any:
        """Has the writer run `job` and gives its result or raises its error. Blocks; any thread.

        Raises StoreError when that did not happen in time.
        """
        request = _Request(job)
        self._requests.append(request)
        self._intake.wake()
        if not request.done.wait(timeout_s):
            request.is_cancelled = True
            raise StoreError(f"the write was not done within {timeout_s:g} s")
        if request.error is not None:
            raise request.error
        return request.result

    def finish(self, by: float) -> None:
        """Drains the intake, until `by` (monotonic), and closes the store. The last step."""
        while self._store.is_open and len(self._intake) and time.monotonic() < by - CLOSE_S:
            if self.run_once() is not None:
                self._intake.drained(timeout_s=0.05)  # a failed write: breathe before the retry
        lost = self._intake.abandon()
        if lost:
            log.error("%d accepted events could not be stored before the stop", lost)
            try:
                self._store.count_lost(Loss.SHUTDOWN, lost)
            except Exception as error:
                log.error("nor could the remote be told of them: %s", error)
        self._store.close()

    def _commit(self, records: list[Record]) -> None:
        inserted = self._store.insert(records)
        self._committed_at = time.monotonic()
        for position, why in inserted.lost.items():
            log.error("SQLite refused the event %s: %s", records[position].trace_id, why)
        self._intake.settle(len(records), inserted.stored, inserted.lost)
        self._look_ahead()
        if self._on_stored is not None:
            is_all = inserted.stored == len(records)
            try:
                self._on_stored(records if is_all else self._store.became_rows(records))
            except Exception:  # they are stored: no reason to distrust the database
                log.exception("what was stored could not be counted")

    def _serve(self, request: _Request) -> None:
        if request.is_cancelled:  # its thread was told that it failed
            return
        try:
            request.finish(request.job(self._store))
        except Exception as error:
            self._distrust_after(error)
            request.finish(error=error)

    def _open(self) -> float | None:
        while self._requests:  # meant for the file as it was
            self._requests.popleft().finish(error=StoreError("the database had to be opened anew"))
        try:
            self._store.open()
        except StoreLocked as error:
            self._refuse(str(error))
            return RETRY_LOCKED_S
        except StoreError as error:
            self._refuse(str(error))
            return RETRY_OPEN_S
        maintenance.limit_growth(self._store)
        self._is_full = False
        self._set_status("ok")
        self._intake.admit()
        self._ask_for_room()
        while self._store.notices:
            self._report(self._store.notices.pop(0))
        return None

    def _refuse(self, why: str) -> None:
        self._set_status(why)
        self._intake.refuse(why)

    def _write_failed(self, error: Exception) -> None:
        """The batch stays in the intake."""
        self._set_status(store_file.explain(self._store.path, error))
        log.debug("write failed", exc_info=error)
        self._distrust_after(error)

    def _note_success(self) -> None:
        if self._is_full:
            self._is_full = False
            self._intake.admit()
        self._set_status("ok")

    def _look_for_room(self) -> bool:
        """While there is none, events already taken may still be stored, new ones are refused."""
        if maintenance.has_room(self._store):
            return True
        if time.monotonic() - self._asked_at > ASK_AGAIN_S:
            self._ask()
        return False

    def _look_ahead(self) -> None:
        """Has room made before the limit is reached and events have to be refused."""
        max_bytes = self._store.max_bytes
        if max_bytes is not None and self._committed_at - self._looked_at > LOOK_AHEAD_S:
            self._looked_at = self._committed_at
            in_use_bytes = maintenance.pages(self._store.database).in_use_bytes
            if in_use_bytes > NEARLY_FULL * max_bytes:
                self._ask()

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._ask_for_room()

    def _distrust_after(self, error: Exception) -> None:
        """After an I/O error the connection is not trusted again, after damage the file. Without
        space no event is taken until there is room: what is left is for those already taken, and
        for deleting.
        """
        if store_file.is_no_space(error):
            self._refuse(store_file.explain(self._store.path, error))
            if not self._is_full:
                self._is_full = True
                maintenance.drop_ballast(self._store)
                self._ask()
        if store_file.is_corruption(error):
            self._store.close_damaged(store_file.explain(self._store.path, error))
        elif any("IOERR" in name for name in store_file.error_names(error)):
            self._store.close()

    def _set_status(self, status: str) -> None:
        if status != self.database_status:
            level = logging.INFO if status == "ok" else logging.ERROR
            log.log(level, "database: %s", status)
        self.database_status = status
        self._intake.trouble = None if status == "ok" else status
