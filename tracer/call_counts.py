"""What the calls of language models add up to since the start, for `/metrics`.

Histograms as OpenTelemetry's GenAI conventions have them, with their boundaries. The writer counts
what it has committed, so no request waits for it, and a retry counts once.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple

from tracer.decoder import Record
from tracer.events import LlmTrace
from tracer.events.llm_trace import WRAPPERS

TOKEN_BOUNDS: Final = tuple(4.0**n for n in range(14))
SECONDS_BOUNDS: Final = tuple(0.01 * 2**n for n in range(14))

MAX_GROUPS: Final = 50
"""Pairs of model and provider, per operation, that are told apart; those seen later are `other`."""
OTHER: Final = "other"
LONGEST_NAME: Final = 100

ERROR_TYPES: Final = {
    "success": "",
    "error": "_OTHER",  # the convention's word where no better one is known
    "timeout": "timeout",
    "rate_limited": "rate_limited",
}

_COLUMNS: Final = LlmTrace.stored_columns()
_read: Final = itemgetter(
    *map(
        _COLUMNS.index,
        (
            *("operation", "provider", "model", "status", "latency_ms"),
            *("prompt_tokens", "completion_tokens", "cost_usd"),
        ),
    )
)


class Names(NamedTuple):
    """What calls are grouped by."""

    operation: str
    provider: str
    model: str


class Histogram:
    """Counts by upper bound (inclusive), the last beyond all, and the sum of the values."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Bound and how many are not above it, as Prometheus has it."""
        total, pairs = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            pairs.append(("+Inf" if bound == float("inf") else f"{bound:.10g}", float(total)))
        return pairs


class CallGroup:
    """The calls of one operation, provider and model."""

    def __init__(self) -> None:
        self.tokens = {"input": Histogram(TOKEN_BOUNDS), "output": Histogram(TOKEN_BOUNDS)}
        self.seconds: dict[str, Histogram] = {}
        """By error type; empty is success."""
        self.statuses: Counter[str] = Counter()
        self.cost_usd = 0.0
        self.without_cost = 0


class CallCounts:
    """Written by the writer's thread, read by any without a lock: the call being counted at that
    moment may be in a bucket and not yet in the sum.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], CallGroup] = {}

    def note(self, records: Iterable[Record]) -> None:
        """Counts the calls among what was stored."""
        for record in records:
            if record.kind is LlmTrace:
                self._add(record.row)

    def groups(self) -> list[tuple[Names, CallGroup]]:
        """What was counted so far."""
        return [(Names(*names), group) for names, group in list(self._groups.items())]

    def _add(self, row: tuple[Any, ...]) -> None:
        operation, provider, model, status, latency_ms, prompt, completion, cost_usd = _read(row)
        group = self._group(operation, provider, model)
        if latency_ms is not None:
            error_type = ERROR_TYPES[status]
            seconds = group.seconds.get(error_type)
            if seconds is None:
                seconds = group.seconds[error_type] = Histogram(SECONDS_BOUNDS)
            seconds.add(latency_ms / 1000)
        if operation not in WRAPPERS:  # what is inside counts, as in the statistics
            group.statuses[status] += 1
            if cost_usd is None:
                group.without_cost += 1
            else:
                group.cost_usd += cost_usd
            if prompt is not None:
                group.tokens["input"].add(prompt)
            if completion is not None:
                group.tokens["output"].add(completion)

    def _group(self, operation: str, provider: str, model: str) -> CallGroup:
        group = self._groups.get((operation, provider, model))
        if group is None:
            names = Names(*(n[:LONGEST_NAME] for n in (operation, provider, model)))
            if names not in self._groups and len(self._groups) >= MAX_GROUPS:
                names = Names(OTHER, OTHER, OTHER)
            group = self._groups.setdefault(names, CallGroup())
        return group
