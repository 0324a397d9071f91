"""Ranks in many values without sorting them all at once. Pure."""

import struct
from array import array
from bisect import bisect_left, bisect_right
from typing import Final

RUN_LENGTH: Final = 4096
"""Values sorted in one go. Sorting holds the interpreter's lock: this takes half a millisecond."""


def rank(percent: int, count: int) -> int:
    """The nearest rank, from 1: that of the smallest value which so many percent do not exceed."""
    return -(-count * percent // 100)


class Runs:
    """Values from 0 on, in sorted runs; those below 0 stand for none and are left out."""

    def __init__(self, values: "array[float]") -> None:
        self._runs: list[array[float]] = []
        for start in range(0, len(values), RUN_LENGTH):
            run = sorted(values[start : start + RUN_LENGTH])
            run = run[bisect_left(run, 0.0) :]
            if run:
                self._runs.append(array("d", run))
        self._length = sum(map(len, self._runs))

    def __len__(self) -> int:
        return self._length

    @property
    def largest(self) -> float:
        """Raises ValueError when there are none."""
        return max(run[-1] for run in self._runs)

    def count_below(self, value: float) -> int:
        return sum(bisect_left(run, value) for run in self._runs)

    def count_up_to(self, value: float) -> int:
        return sum(bisect_right(run, value) for run in self._runs)

    def at_rank(self, rank: int) -> float:
        """The smallest value with `rank` values up to it: halves the range, not of the numbers but
        of their bits, which are in the same order (IEEE 754) and end after 63 steps.
        """
        low, high = 0, _bits(self.largest)
        while low < high:
            middle = (low + high) // 2
            if self.count_up_to(_value(middle)) >= rank:
                high = middle
            else:
                low = middle + 1
        return _value(low)


def _bits(value: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", abs(value)))[0]
    return bits


def _value(bits: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value
