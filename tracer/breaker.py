"""When to ask the remote again: backoff, `Retry-After` and the circuit (contract section 6).

Ours rather than a library's. pybreaker and circuitbreaker count calls, where we count passes; both
would have to be told to open at once after a 401; pybreaker keeps its time by the wall clock.
tenacity and stamina own the loop and the sleep, which here belong to the worker: it can be stopped.
"""

import random
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

FIRST_BACKOFF_S: Final = 1.0
LAST_BACKOFF_S: Final = 300.0


class BreakerState(StrEnum):
    """`push_breaker` of `/health`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # a probe is under way


class Breaker:
    """Opens after `threshold` failed passes in a row; then one batch per interval probes.

    One thread calls its methods; any may read its attributes.
    """

    def __init__(self, *, threshold: int, interval_s: float) -> None:
        self.state = BreakerState.CLOSED
        self.failed_passes = 0
        """In a row."""
        self.reason: str | None = None
        """Why the last pass failed; None after success."""
        self._threshold = threshold
        self._interval_s = interval_s
        self._not_before = 0.0

    def warnings(self) -> Iterator[str]:
        """Sentences for `/health`."""
        if self.state is not BreakerState.CLOSED:
            yield f"the push circuit is open, nothing is given up: {self.reason}"
        elif self.failed_passes:
            yield f"push failed: {self.reason} ({self.failed_passes} passes in a row)"

    def wait_s(self) -> float:
        """Seconds for which the remote does not want to be asked. The last push heeds that too."""
        return max(0.0, self._not_before - time.monotonic())

    def begin(self) -> None:
        """A pass begins."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def end(self) -> None:
        """It ended. A probe that had nothing to send has shown nothing."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def succeed(self) -> None:
        """The remote took a batch."""
        self.state, self.failed_passes, self.reason = BreakerState.CLOSED, 0, None

    def is_opened_by(self, *, opens: bool) -> bool:
        """Whether a failure now leaves the circuit open."""
        is_closed = self.state is BreakerState.CLOSED
        return opens or not is_closed or self.failed_passes + 1 >= self._threshold

    def fail(self, reason: str, *, retry_after_s: float, opens: bool) -> float:
        """A pass failed; the seconds to wait for the next.

        Full jitter, so that a fleet does not come back as one. `opens`: nothing will change until
        somebody changes it, so the circuit opens at once.
        """
        is_opened = self.is_opened_by(opens=opens)
        self.failed_passes += 1
        self.reason = reason
        self._not_before = time.monotonic() + retry_after_s
        if is_opened:
            self.state = BreakerState.OPEN
            return max(self._interval_s, retry_after_s)
        longest_s = min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self.failed_passes - 1, 30))
        return max(random.uniform(0, longest_s), retry_after_s)
