"""Exact percentiles of many values without sorting them all at once. Pure."""

import math
import struct
from array import array
from bisect import bisect_left, bisect_right
from typing import Final

RUN_LENGTH: Final = 4096
"""Values sorted in one go. Sorting holds the interpreter's lock: this takes half a millisecond."""


def percentiles(values: "array[float]") -> dict[str, float | None]:
    """Exact, by the nearest rank. Values below 0 stand for none; None where there is no value."""
    runs = []
    for start in range(0, len(values), RUN_LENGTH):
        run = sorted(values[start : start + RUN_LENGTH])
        run = run[bisect_left(run, 0.0) :]
        if run:
            runs.append(array("d", run))
    if not runs:
        return dict.fromkeys(("p50", "p95", "p99", "max"))
    count = sum(map(len, runs))
    largest = max(run[-1] for run in runs)
    ranks = {f"p{percent}": -(-count * percent // 100) for percent in (50, 95, 99)}
    found: dict[str, float | None] = {
        name: _at_rank(runs, rank, largest) for name, rank in ranks.items()
    }
    return found | {"max": largest}


def _at_rank(runs: "list[array[float]]", rank: int, largest: float) -> float:
    """The smallest value with `rank` values up to it: halves the range, not of the numbers but of
    their bits, which are in the same order (IEEE 754) and end after 63 steps.
    """
    low, high = 0, _bits(largest)
    while low < high:
        middle = (low + high) // 2
        value = struct.unpack("<d", struct.pack("<q", middle))[0]
        if sum(bisect_right(run, value) for run in runs) >= rank:
            high = middle
        else:
            low = middle + 1
    found: float = struct.unpack("<d", struct.pack("<q", low))[0]
    return found


def _bits(value: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", math.fabs(value)))[0]
    return bits
