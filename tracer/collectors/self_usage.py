"""What we cost ourselves: this worker process, all its threads."""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

from tracer.collectors.base import Deltas, Reading
from tracer.collectors.process_table import PAGE_BYTES, parse_stat
from tracer.kernel_files import read_bytes


class SelfUsage:
    """Needs no privileges."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._deltas = Deltas(clock)

    def collect(self) -> Reading:
        stat = parse_stat(read_bytes(self._root / "proc/self/stat") or b"")
        times = os.times()
        growth = self._deltas.update(
            {
                "cpu": times.user + times.system,
                "collections": sum(generation["collections"] for generation in gc.get_stats()),
            }
        )
        collections = growth.get("collections")
        return Reading(
            {
                "tracer_rss_bytes": stat and stat.rss_pages * PAGE_BYTES,
                "tracer_threads": stat and stat.threads,
                "tracer_cpu_percent": growth.percent("cpu", of=growth.seconds),
                "tracer_gc_collections": None if collections is None else int(collections),
            }
        )
