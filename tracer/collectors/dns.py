"""How long names take to resolve. The resolver may hang for half a minute, so it has a thread."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from tracer.collectors.base import Reading

ROUND_S: Final = 60.0
DEADLINE_S: Final = 5.0
"""A name that has not resolved by then counts as failed."""


def _resolve(name: str) -> None:
    """Bytes, since a text would load Python's tables of international names: 1 MB."""
    socket.getaddrinfo(name.encode() if name.isascii() else name, 443, type=socket.SOCK_STREAM)


class _Round:
    """One try of all names. Written by its thread, read by the sampler's."""

    def __init__(self, names: Sequence[str], began_at: float) -> None:
        self.names = names
        self.began_at = began_at
        self.times_ms: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.is_done = False
        self.is_reported = False

    def run(self, resolve: Callable[[str], object]) -> None:
        for name in self.names:
            started = time.monotonic()
            try:
                resolve(name)
            except Exception as error:
                self.failed[name] = str(error)
            else:
                self.times_ms[name] = (time.monotonic() - started) * 1000
        self.is_done = True


class Dns:
    """Begins a round each minute and gives its outcome at the first pass after its end or deadline.

    While the resolver hangs no other round is begun: one thread at most.
    """

    def __init__(
        self,
        names: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        resolve: Callable[[str], object] = _resolve,
    ) -> None:
        self._names = names
        self._clock = clock
        self._resolve = resolve
        self._round: _Round | None = None

    def collect(self) -> Reading:
        if not self._names:
            return Reading({})
        now = self._clock()
        reading = self._outcome(now)
        latest = self._round
        if latest is None or (latest.is_done and now - latest.began_at >= ROUND_S):
            begun = _Round(self._names, now)
            threading.Thread(
                target=begun.run, args=(self._resolve,), name="dns", daemon=True
            ).start()
            self._round = begun
        return reading

    def _outcome(self, now: float) -> Reading:
        latest = self._round
        if latest is None or latest.is_reported:
            return Reading({})
        is_done = latest.is_done
        if not is_done and now - latest.began_at < DEADLINE_S:
            return Reading({})
        latest.is_reported = True
        times_ms, failed = dict(latest.times_ms), dict(latest.failed)
        for name in self._names:
            if name not in times_ms and name not in failed:
                failed[name] = f"no answer within {DEADLINE_S:g} s"
        slowest = round(max(times_ms.values()), 1) if times_ms else None
        return Reading({"dns_ms": slowest, "dns_failures": len(failed)}, {"dns_failed": failed})
