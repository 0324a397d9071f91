"""The janitor thread's work: keeps the database within its age, its size and its volume.

It reads what is too much and has the writer delete it, a little at a time, so that events get in
between.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from tracer import age_clock, maintenance, repair, retention, store_file, volume
from tracer.age_clock import ClockState
from tracer.errors import StoreError
from tracer.ledger import Deletion
from tracer.retention import Doomed
from tracer.store import Store
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

DELETE_ROWS: Final = 100
"""Rows per transaction: with the longest texts still within the kept write-ahead log."""

DELETE_ROWS_TIGHT: Final = 20
"""The same while the volume may be full: the log may not be empty."""

VACUUM_PAGES: Final = 100
LONGEST_REST_S: Final = 0.05
RETRY_S: Final = 10.0
"""Wait after a pass that the database was not fit for."""

PUSH_LOG_ROWS: Final = 5000
DAY_MS: Final = 86_400_000

Write = Callable[[Callable[[Store], Any]], Any]


class Janitor:
    """Two jobs of one thread: `run_once` makes room, `checkpoint` keeps the log short."""

    def __init__(
        self,
        store: Store,
        write: Write,
        *,
        retention_days: float,
        keeps_unpushed: bool,
        max_db_bytes: int,
        min_db_bytes: int,
        disk_max_percent: float,
        wal_max_bytes: int,
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._write = write
        self._retention_ms = round(retention_days * DAY_MS)
        self._keeps_unpushed = keeps_unpushed
        self._max_db_bytes = max_db_bytes
        self._min_db_bytes = min_db_bytes
        self._disk_max_percent = disk_max_percent
        self._wal_max_bytes = wal_max_bytes
        self._report = report
        self._ending = threading.Event()
        self._clock: ClockState | None = None
        self._generation = 0
        self._volume_is_tight = False
        self._log_is_held = False

    def run_once(self) -> float | None:
        """One pass. Blocks as long as it takes, a few seconds for 100,000 rows.

        Returns None, or the wait until the next try when the database was not fit for it.
        """
        return self._unless_unfit(self._clean_up)

    def checkpoint(self) -> float | None:
        """Copies the write-ahead log into the database; restarts a log that has grown too long."""
        return self._unless_unfit(self._checkpoint)

    def _checkpoint(self) -> None:
        is_long = self._wal_bytes() > self._wal_max_bytes
        done = self._write(partial(maintenance.checkpoint, restart=is_long))
        self._log_is_held = is_long and done.is_busy

    def _unless_unfit(self, job: Callable[[], Any]) -> float | None:
        if not self._store.generation:
            return None  # not opened yet: opening asks for a pass
        try:
            job()
        except _Ended:
            return None
        except Exception as error:
            if store_file.is_corruption(error):
                repair.give_up(self._store, self._write, str(error))
            elif not (isinstance(error, StoreError) or store_file.is_no_space(error)):
                raise
            log.warning("clean-up: %s", store_file.explain(self._store.path, error))
            return RETRY_S
        return None

    def _clean_up(self) -> None:
        try:
            repair.save_rows(self._store, self._step, self._report)
        except Exception as error:
            if not store_file.is_no_space(error):
                raise  # else make room first
        repair.look_for_damage(self._store, self._step)
        if self._wal_bytes() > self._wal_max_bytes:
            self._checkpoint()
        self._delete_aged()
        self._delete_above(Deletion.SIZE, self._max_db_bytes)
        self._make_room_on_volume()
        self._write(partial(retention.trim_push_log, keep=PUSH_LOG_ROWS))

    def end(self) -> None:
        """A pass that runs ends at its next step, those to come do nothing. Any thread."""
        self._ending.set()

    def warnings(self) -> Iterator[str]:
        """What the owner should know. Any thread."""
        if not self._store.is_checked:
            yield "the database was not closed properly: looking for damage in the background"
        if self._log_is_held:
            yield (
                f"the write-ahead log has grown to {self._wal_bytes() >> 20} MB: "
                "another program reads the database and does not end"
            )
        if self._volume_is_tight:
            yield (
                f"the volume is more than {self._disk_max_percent:g} % full and the database is "
                "down to TRACE_MIN_DB_BYTES: others are filling it"
            )
        clock = self._clock
        if clock is not None and clock.wall_at - clock.age_at > DAY_MS:
            yield (
                f"the clock went {(clock.wall_at - clock.age_at) / DAY_MS:.0f} days ahead of the "
                "time this service saw pass: rows do not grow old by it yet"
            )

    def _delete_aged(self) -> None:
        now = now_ms()
        clock = self._read_clock(now)
        self._write(partial(retention.save_clock, state=clock))
        self._clock = clock
        aged = retention.aged(
            self._store,
            before=clock.age_at - self._retention_ms,
            now=now,
            only_finished=self._keeps_unpushed,
            size=DELETE_ROWS,
        )
        self._delete(aged, Deletion.AGE, lambda: True)

    def _read_clock(self, now: int) -> ClockState:
        if self._clock is None or self._generation != self._store.generation:
            self._generation = self._store.generation
            self._clock = retention.load_clock(self._store) or self._clock
        try:
            boot_id, uptime_ms = age_clock.read_uptime()
        except (OSError, ValueError, IndexError):
            boot_id, uptime_ms = f"process {os.getpid()}", round(time.monotonic() * 1000)
        return age_clock.advance(
            self._clock,
            wall_at=now,
            uptime_ms=uptime_ms,
            boot_id=boot_id,
            retention_ms=self._retention_ms,
        )

    def _make_room_on_volume(self) -> None:
        """Gives free pages back; on a volume that is too full, those of the oldest rows too."""
        if not self._volume_excess_bytes():
            self._volume_is_tight = False
            self._give_back()
            return
        self._give_back(keep_bytes=maintenance.room_bytes(self._store))
        store_file.remove_quarantined(self._store.path)
        excess = self._volume_excess_bytes()
        if excess:
            self._delete_above(
                Deletion.VOLUME, max(self._min_db_bytes, self._in_use_bytes() - excess)
            )
            self._give_back(keep_bytes=maintenance.room_bytes(self._store))
        self._volume_is_tight = (
            self._volume_excess_bytes() > 0 and self._in_use_bytes() <= self._min_db_bytes
        )

    def _volume_excess_bytes(self) -> int:
        above = volume.bytes_above(self._store.path.parent, self._disk_max_percent)
        return max(0, above - maintenance.held_bytes(self._store)) if above else 0

    def _delete_above(self, reason: Deletion, max_bytes: int) -> None:
        if self._in_use_bytes() <= max_bytes:
            return
        size = DELETE_ROWS_TIGHT if reason is Deletion.VOLUME else DELETE_ROWS
        doomed = retention.oldest_first(self._store, size)
        self._delete(doomed, reason, lambda: self._in_use_bytes() > max_bytes)

    def _delete(
        self, doomed: Iterable[Doomed], reason: Deletion, is_needed: Callable[[], bool]
    ) -> None:
        deleted, generation = 0, self._store.generation
        for rows in doomed:
            if not is_needed():
                break
            job = partial(retention.delete, doomed=rows, reason=reason, generation=generation)
            count = self._step(job)
            deleted += count
            if not count and reason is not Deletion.AGE:
                break  # the same rows would come again; an aged range may have gaps
        if deleted:
            log.info("clean-up: %d rows deleted, reason %s", deleted, reason)

    def _give_back(self, keep_bytes: int = 0) -> None:
        """Cuts free pages off the file. On a tight volume we keep some: others would take them."""
        size = self._pages()
        left, goal = size.free, keep_bytes // size.bytes_each
        if left <= goal:
            return
        while left > goal:
            before = left
            left = self._step(
                partial(maintenance.vacuum, page_count=min(VACUUM_PAGES, before - goal))
            )
            if left >= before:
                break
        self._step(partial(maintenance.checkpoint, restart=False))

    def _step(self, job: Callable[[Store], Any]) -> Any:
        """One write, and a rest as long: requests need the interpreter and the disk as well."""
        if self._ending.is_set():
            raise _Ended
        began = time.monotonic()
        result = self._write(job)
        self._ending.wait(min(LONGEST_REST_S, time.monotonic() - began))
        return result

    def _in_use_bytes(self) -> int:
        return self._pages().in_use_bytes

    def _pages(self) -> maintenance.Pages:
        with self._store.reading() as reader:
            return maintenance.pages(reader)

    def _wal_bytes(self) -> int:
        return store_file.size_bytes(self._store.path, "-wal")


class _Ended(Exception):
    """The service stops: the rest of the pass is for the next start."""
