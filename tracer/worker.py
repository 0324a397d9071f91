"""The only thread class: runs jobs again and again, survives their failures, stops on time."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypedDict

import schedule

from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

AFTER_FAILURE_S: Final = 1.0
"""Pause after a job raised: a fault that stays must not become a busy loop."""

Job = Callable[[], float | None]
"""One step. Returns None, or, when it failed, the seconds until the next try."""


class WorkerState(TypedDict):
    """One worker in `/health`."""

    alive: bool
    failures: int
    last_ok_at: int | None


class Worker:
    """One daemon thread with one or more jobs. Create, `every`, `start`, `stop`.

    `at_stop` runs last, in the same thread, and is given the moment (monotonic) by which it must
    be done. `wake` ends the wait of a job that blocks.

    `schedule` keeps the jobs, but by the wall clock: after a jump backwards they would sleep for as
    long as it was. So the times that count are monotonic, and `schedule` is told before each look.
    """

    def __init__(
        self,
        name: str,
        *,
        at_stop: Callable[[float], object] | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.failures = 0
        self.last_ok_at: int | None = None
        self._at_stop = at_stop
        self._wake = wake
        self._scheduler = schedule.Scheduler()
        self._due_at: dict[schedule.Job, float] = {}
        self._stop_by: float | None = None
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def every(self, interval_s: float, job: Job, *, first_after_s: float = 0.0) -> None:
        """Adds a job; 0 means again at once, for jobs that wait themselves."""
        scheduled = self._scheduler.every(max(1, interval_s)).seconds  # type: ignore[arg-type]
        scheduled.do(self._step, scheduled, interval_s, job)
        self._due_at[scheduled] = time.monotonic() + first_after_s

    def start(self) -> None:
        """Starts the thread; the first step runs there."""
        self._thread.start()

    def hurry(self) -> None:
        """Has every job run now, or again when it is running, whatever it waits for. Any thread;
        a signal handler too, unless it may interrupt this or `stop`.
        """
        self._hurried.set()

    def stop(self, by: float) -> bool:
        """Ends the thread; blocks until it has ended or `by` (monotonic). Whether it has ended."""
        self._stop_by = by
        self._stopping.set()
        self._hurried.set()
        if self._wake is not None:
            self._wake()
        if self._thread.is_alive():
            self._thread.join(max(0.0, by - time.monotonic()))
        return not self._thread.is_alive()

    def state(self) -> WorkerState:
        """How it is doing."""
        return WorkerState(
            alive=self._thread.is_alive(), failures=self.failures, last_ok_at=self.last_ok_at
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            now, wall_now = time.monotonic(), datetime.now()
            for job, due_at in self._due_at.items():
                job.next_run = wall_now + timedelta(seconds=due_at - now)
            self._scheduler.run_pending()
            wait_s = min(self._due_at.values()) - time.monotonic()
            if self._hurried.wait(max(0.0, wait_s)):
                self._hurried.clear()
                self._due_at = dict.fromkeys(self._due_at, time.monotonic())
        if self._at_stop is not None:
            try:
                self._at_stop(self._stop_by or time.monotonic())
            except Exception:
                log.exception("%s failed while stopping", self.name)

    def _step(self, scheduled: schedule.Job, interval_s: float, job: Job) -> None:
        """The one place that catches what a job raises."""
        delay_s: float | None
        try:
            delay_s = job()
        except Exception:
            delay_s = max(AFTER_FAILURE_S, interval_s)
            log.exception("%s failed", self.name)
        if delay_s is None:
            self.last_ok_at = now_ms()
        else:
            self.failures += 1
        self._due_at[scheduled] = time.monotonic() + (interval_s if delay_s is None else delay_s)
