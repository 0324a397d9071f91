"""A CPU profile of all threads, by looking at their stacks many times a second.

How much CPU a thread used between two looks is asked of the kernel, so threads that wait cost and
count nothing. As every profiler inside Python it looks when it gets the interpreter's lock: the
shares of threads are exact, those of lines within a thread are estimates.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Final

from tracer.errors import TracerError
from tracer.pprof import Place, Profile, Sample
from tracer.threads import cpu_ns, native_id

PERIOD_NS: Final = 20_000_000
UNITS: Final = (("samples", "count"), ("cpu", "nanoseconds"))

MAX_DEPTH: Final = 128
MAX_STACKS: Final = 5_000
"""Different ones in one profile, so that its memory is bounded; the rest count together."""

_REST: Final = Place("(further stacks)", "", 0)


class ProfilerBusy(TracerError):
    """Another profile is being recorded."""


class Profiler:
    """Costs nothing but while `record` runs. One recording at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_ending = False

    def record(self, seconds: float) -> Profile:
        """Looks from the calling thread, which is left out; blocks for so long, or until `end`.

        Raises ProfilerBusy.
        """
        if not self._lock.acquire(blocking=False):
            raise ProfilerBusy("another profile is being recorded, try again when it is done")
        try:
            return _Recording().run(seconds, lambda: self._is_ending)
        finally:
            self._lock.release()

    def end(self) -> None:
        """The process stops: recordings end early, for good. Takes no lock, so a signal may."""
        self._is_ending = True


class _Recording:
    def __init__(self) -> None:
        self._used_ns: dict[int, int] = {}
        self._codes: list[CodeType] = []  # held, or their ids would mean others
        self._places: dict[tuple[int, int], Place] = {}
        self._totals: dict[tuple[str, tuple[Place, ...]], list[int]] = {}

    def run(self, seconds: float, is_ending: Callable[[], bool]) -> Profile:
        began_at_ns, began = time.time_ns(), time.monotonic_ns()
        self._look(is_first=True)
        ends, due = began + round(seconds * 1e9), began
        while (now := time.monotonic_ns()) < ends and not is_ending():
            due = max(due + PERIOD_NS, now)  # what was missed is not made up for
            time.sleep((min(due, ends) - now) / 1e9)
            self._look()
        samples = [
            Sample(stack, values, {"thread": thread})
            for (thread, stack), values in self._totals.items()
        ]
        duration_ns = time.monotonic_ns() - began
        return Profile(UNITS, samples, began_at_ns, duration_ns, PERIOD_NS)

    def _look(self, *, is_first: bool = False) -> None:
        frames = sys._current_frames()
        own = threading.get_ident()
        used_before, self._used_ns = self._used_ns, {}
        for thread in threading.enumerate():
            native = native_id(thread)
            if thread.ident == own or (used_ns := cpu_ns(native)) is None:
                continue
            self._used_ns[native] = used_ns
            spent_ns = used_ns - (used_ns if is_first else used_before.get(native, 0))
            if spent_ns > 0 and (frame := frames.get(thread.ident or 0)) is not None:
                self._add(thread.name, self._stack(frame), spent_ns)

    def _add(self, thread: str, stack: tuple[Place, ...], spent_ns: int) -> None:
        key = (thread, stack)
        if key not in self._totals and len(self._totals) >= MAX_STACKS:
            key = ("", (_REST,))
        totals = self._totals.setdefault(key, [0, 0])
        totals[0] += 1
        totals[1] += spent_ns

    def _stack(self, innermost: FrameType) -> tuple[Place, ...]:
        frame: FrameType | None = innermost
        places: list[Place] = []
        while frame is not None and len(places) < MAX_DEPTH:
            key = (id(frame.f_code), frame.f_lasti)
            places.append(self._places.get(key) or self._new_place(key, frame))
            frame = frame.f_back
        return tuple(places)

    def _new_place(self, key: tuple[int, int], frame: FrameType) -> Place:
        code = frame.f_code
        self._codes.append(code)
        place = Place(code.co_qualname, code.co_filename, frame.f_lineno or 0, code.co_firstlineno)
        self._places[key] = place
        return place
