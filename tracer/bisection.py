"""Which rows a remote refuses: halves what it refused until they are alone (contract section 6).

A row is set aside only once the remote has taken another one in the same pass, or a remote that
refuses everything would empty the store. Pure; lives as long as one pass.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tracer.events import Event
from tracer.rows import IdRanges, ranges_of

PATIENCE: Final = 16
"""Refused batches in a row before the newest rows are tried instead. To be alone, a row at the end
of the largest batch takes 11 halvings.
"""


class Bisection:
    """`segments` are to be sent before anything else, the last of them first.

    `proven` are rows, each with the reason, that can be set aside.
    """

    def __init__(self, newest: Callable[[], list[IdRanges]]) -> None:
        self.segments: list[IdRanges] = []
        self.proven: list[tuple[IdRanges, str]] = []
        self._newest = newest
        self._suspects: list[tuple[IdRanges, str]] = []
        self._has_accepted = False
        self._is_probing = False
        self._patience = PATIENCE

    def accepted(self) -> None:
        """The remote took a batch: what it refused before is the rows' fault."""
        self._has_accepted, self._is_probing, self._patience = True, False, PATIENCE
        self._convict()

    def refused(self, rows: Sequence[tuple[type[Event], int]], why: str) -> bool:
        """The remote refused these. Whether to go on: False when it takes nothing at all."""
        if len(rows) > 1:
            half = len(rows) // 2
            self.segments += [ranges_of(rows[half:]), ranges_of(rows[:half])]
        else:
            self._suspects.append((ranges_of(rows), why))
        self._patience -= 1
        if self._patience > 0:
            if self.segments:
                return True
            if self._has_accepted:
                self._convict()
                return True
        return not self._is_probing and self.probe()

    def probe(self) -> bool:
        """Tries the newest row of each kind next, one by one: bad rows at the front of the queue
        must not pass for a remote that refuses everything. Whether there are any.
        """
        suspects = [ranges for ranges, _ in self._suspects]
        probes = [ranges for ranges in self._newest() if ranges not in suspects]
        self.segments += probes
        self._is_probing, self._patience = True, len(probes)
        return bool(probes)

    def _convict(self) -> None:
        self.proven += self._suspects
        self._suspects = []
