import threading
import time
from contextlib import contextmanager

import pytest

from tests.support import wait_until
from tracer import profiler as profiler_module
from tracer.profiler import PERIOD_NS, Profiler, ProfilerBusy


@contextmanager
def thread(name, work):
    """A thread that does `work` again and again."""
    ending = threading.Event()

    def run():
        while not ending.is_set():
            work()

    running = threading.Thread(target=run, name=name)
    running.start()
    try:
        yield running
    finally:
        ending.set()
        running.join()


def burn():
    sum(range(2000))


def nap():
    time.sleep(0.001)


def test_who_burns_cpu_is_seen_and_who_sleeps_is_not():
    with thread("burner", burn), thread("sleeper", nap):
        profile = Profiler().record(0.5)
    by_thread = {}
    for sample in profile.samples:
        name = sample.labels["thread"]
        by_thread[name] = by_thread.get(name, 0) + sample.values[1]
    assert by_thread["burner"] > 3 * by_thread.get("sleeper", 0)
    assert max(profile.samples, key=lambda s: s.values[1]).stack[0].function == "burn"
    assert all(sample.values[1] > 0 for sample in profile.samples)
    assert profile.duration_ns >= 500e6
    assert profile.period == PERIOD_NS


def test_cpu_is_what_the_kernel_counted():
    """Shares of threads are exact, however few looks a busy machine allows."""
    used = {}

    def burn_and_tell():
        burn()
        used["ns"] = time.thread_time_ns()

    with thread("burner", burn_and_tell):
        wait_until(lambda: "ns" in used)
        before = used["ns"]
        profile = Profiler().record(0.5)
        after = used["ns"]
    seen = sum(s.values[1] for s in profile.samples if s.labels["thread"] == "burner")
    assert 0.8 * (after - before) <= seen <= 1.2 * (after - before)


def test_a_thread_that_comes_later_is_seen_from_its_birth():
    profiler, found = Profiler(), []
    recorder = threading.Thread(target=lambda: found.append(profiler.record(0.6)), name="recorder")
    recorder.start()
    time.sleep(0.1)
    with thread("late", burn):
        recorder.join()
    assert any(s.labels["thread"] == "late" for s in found[0].samples)


def test_one_at_a_time_and_an_end_that_lasts():
    profiler = Profiler()
    recorder = threading.Thread(target=profiler.record, args=(30,))
    recorder.start()
    wait_until(profiler._lock.locked)
    with pytest.raises(ProfilerBusy, match="another profile"):
        profiler.record(1)
    profiler.end()
    recorder.join(5)
    assert not recorder.is_alive()
    assert profiler.record(30).duration_ns < 5e9


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(profiler_module, "MAX_STACKS", 1)
    monkeypatch.setattr(profiler_module, "MAX_DEPTH", 3)

    def other():
        sum(range(2000))

    with thread("a", burn), thread("b", other):
        profile = Profiler().record(0.4)
    assert len(profile.samples) == 2
    assert all(len(sample.stack) <= 3 for sample in profile.samples)
    assert "(further stacks)" in {s.stack[0].function for s in profile.samples}
