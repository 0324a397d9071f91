"""What collectors have in common: the form of their answer, and growth of counters."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol


class Reading(NamedTuple):
    """One pass of one collector.

    `values` are columns of `system_metrics`, None where unknown. `facts` are not stored: they are
    what detections go by, and notes for the row.
    """

    values: dict[str, Any]
    facts: Mapping[str, Any] = MappingProxyType({})


class Collector(Protocol):
    """Measures one subject. Called by one thread at a time; may raise, and may hang."""

    def collect(self) -> Reading:
        """One pass. Rates have no value in the first."""


class Growth(dict[str, float]):
    """Counter → what it grew by in `seconds`. Unknown ones are missing, and `get` says None."""

    seconds: float = 0.0

    def percent(self, name: str, of: float) -> float | None:
        """The share of `of`, in percent."""
        value = self.get(name)
        return None if value is None or of <= 0 else percent(value, of)


class Deltas:
    """Remembers counters from reading to reading.

    A counter has no growth at first, after it shrank (it began anew: a group was made again, a
    machine resumed), and where one of the two readings failed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._read_at = 0.0

    def update(self, counters: Mapping[str, float | None]) -> Growth:
        """Takes a reading of all counters; what they grew by since the last."""
        now = self._clock()
        known = {name: value for name, value in counters.items() if value is not None}
        growth = Growth(
            (name, value - self._last[name])
            for name, value in known.items()
            if name in self._last and value >= self._last[name]
        )
        growth.seconds = now - self._read_at if self._last else 0.0
        self._last, self._read_at = known, now
        return growth


def percent(part: float, whole: float) -> float:
    """Rounded to what is worth storing."""
    return round(100 * part / whole, 2)
