import threading
import time
from datetime import datetime, timedelta

from tests.support import wait_until
from tracer import worker as worker_module
from tracer.worker import Worker


def run(worker):
    worker.start()
    return worker


def stop(worker):
    assert worker.stop(time.monotonic() + 5)


def test_a_job_runs_again_after_its_interval_and_after_the_delay_it_asks_for():
    calls = []

    def job():
        calls.append(time.monotonic())
        return 0.01 if len(calls) < 5 else None

    worker = Worker("test")
    worker.every(60, job)
    run(worker)
    wait_until(lambda: len(calls) == 5)
    stop(worker)
    assert len(calls) == 5
    assert worker.last_ok_at is not None
    assert worker.state()["alive"] is False


def test_a_failing_job_is_counted_and_tried_again(monkeypatch):
    monkeypatch.setattr(worker_module, "AFTER_FAILURE_S", 0.01)
    calls = []

    def job():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return 0.01 if len(calls) == 2 else None

    worker = Worker("test")
    worker.every(0.01, job)
    run(worker)
    wait_until(lambda: worker.last_ok_at)
    assert worker.state()["alive"]
    assert worker.failures == 2  # the one that raised and the one that asked for a retry
    stop(worker)


def test_two_jobs_share_one_thread():
    seen = {}
    worker = Worker("test")
    for name in ("a", "b"):
        worker.every(0.01, lambda name=name: seen.update({name: threading.get_ident()}))
    run(worker)
    wait_until(lambda: len(seen) == 2)
    stop(worker)
    assert len(set(seen.values())) == 1


def test_a_clock_that_jumps_back_does_not_stop_the_jobs(monkeypatch):
    """`schedule` alone would sleep for the length of the jump."""

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    calls = []
    worker = Worker("test")
    worker.every(0.01, lambda: calls.append(1))
    run(worker)
    wait_until(lambda: calls)
    monkeypatch.setattr(worker_module, "datetime", Yesterday)
    monkeypatch.setattr("schedule.datetime.datetime", Yesterday)
    before = len(calls)
    wait_until(lambda: len(calls) > before + 3)
    stop(worker)


def test_stop_wakes_a_blocking_job_runs_the_last_step_in_the_thread_and_is_bounded():
    blocked, woken, last = threading.Event(), threading.Event(), []

    def job():
        blocked.set()
        woken.wait(30)

    def at_stop(by):
        last.append((threading.current_thread().name, by))

    worker = Worker("test", at_stop=at_stop, wake=woken.set)
    worker.every(0, job)
    run(worker)
    assert blocked.wait(5)
    by = time.monotonic() + 5
    assert worker.stop(by)
    assert last == [("test", by)]

    stuck = Worker("stuck")
    forever = threading.Event()
    stuck.every(0, lambda: forever.wait(30) and None)
    run(stuck)
    started = time.monotonic()
    assert not stuck.stop(started + 0.1)
    assert time.monotonic() - started < 2
    forever.set()
    assert stuck.stop(time.monotonic() + 5)


def test_jobs_that_are_asked_for_run_soon_and_then_at_their_pace():
    calls = []
    worker = Worker("test")
    worker.every(60, lambda: calls.append(1), first_after_s=60)
    run(worker)
    worker.run_soon()
    wait_until(lambda: len(calls) == 1)
    time.sleep(0.05)
    assert len(calls) == 1
    worker.run_soon()
    wait_until(lambda: len(calls) == 2)
    stop(worker)


def test_what_would_end_a_thread_does_not_end_a_worker(monkeypatch):
    monkeypatch.setattr(worker_module, "AFTER_FAILURE_S", 0.01)
    calls = []

    def job():
        calls.append(1)
        if len(calls) < 3:
            raise SystemExit

    worker = Worker("test")
    worker.every(60, job)
    run(worker)
    wait_until(lambda: worker.last_ok_at)
    assert worker.state()["alive"]
    assert worker.failures == 2
    stop(worker)


def test_a_job_that_is_asked_for_runs_at_once_and_again_after_the_one_that_runs():
    calls, goes_on = [], threading.Event()

    def job():
        calls.append(time.monotonic())
        goes_on.wait(5)

    worker = Worker("test")
    worker.every(60, job, first_after_s=60)
    run(worker)
    worker.run_soon()
    wait_until(lambda: len(calls) == 1)
    worker.run_soon()
    goes_on.set()
    wait_until(lambda: len(calls) == 2)
    stop(worker)
    assert len(calls) == 2
