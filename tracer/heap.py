"""Where memory was allocated, by tracemalloc: started on demand, since it costs memory and time."""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from tracer.errors import TracerError
from tracer.pprof import Place, Profile, Sample

MAX_DEPTH: Final = 16
UNITS: Final = (("inuse_objects", "count"), ("inuse_space", "bytes"))
COST: Final = (
    "until it is stopped, every allocation is slower and its origin takes memory of its own"
)


class NotTracing(TracerError):
    """There is nothing to show."""


class Heap:
    """Only what is allocated while tracing shows. Any thread; a snapshot holds up all others for
    as long as it takes to copy the list of allocations.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_at: float | None = None

    def start(self, depth: int) -> bool:
        """Traces with that many calls for each allocation; False: it does already."""
        import tracemalloc

        with self._lock:
            if tracemalloc.is_tracing():
                return False
            tracemalloc.start(depth)
            self._started_at = time.monotonic()
            return True

    def stop(self) -> bool:
        """Stops and forgets; False: it was not tracing."""
        import tracemalloc

        with self._lock:
            self._started_at = None
            was_tracing = tracemalloc.is_tracing()
            tracemalloc.stop()
            return was_tracing

    def warnings(self) -> Iterator[str]:
        """For `/health`: it must not be forgotten."""
        started_at = self._started_at
        if started_at is not None:
            minutes = (time.monotonic() - started_at) / 60
            yield (
                f"allocations are being traced, for {minutes:.0f} min: {COST}; "
                "GET /debug/pprof/heap?action=stop"
            )

    def snapshot(self) -> tuple[Profile, dict[str, int]]:
        """What is allocated now, largest first, and sums. Raises NotTracing."""
        import tracemalloc

        with self._lock:
            if not tracemalloc.is_tracing():
                raise NotTracing("not tracing: GET /debug/pprof/heap?action=start first")
            now_bytes, peak_bytes = tracemalloc.get_traced_memory()
            filters = [tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)]
            grouped = tracemalloc.take_snapshot().filter_traces(filters).statistics("traceback")
            sums = {
                "traced_bytes": now_bytes,
                "peak_bytes": peak_bytes,
                "own_cost_bytes": tracemalloc.get_tracemalloc_memory(),
            }
        samples = [
            Sample(
                [Place(_name(f), f.filename, f.lineno) for f in reversed(group.traceback)],
                (group.count, group.size),
            )
            for group in grouped
        ]
        return Profile(UNITS, samples, time.time_ns()), sums


def _name(frame: Any) -> str:
    """It knows lines, not functions."""
    return f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
