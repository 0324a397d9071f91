"""What statistics have in common: what they may go by, and how many groups an answer has."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, Final

from tracer.errors import ParameterError

MAX_ITEMS: Final = 1000
"""Groups in an answer: the dearest, the most frequent, or the latest days. Totals hold all."""

DAY_MS: Final = 86_400_000
DAY: Final = f"created_at / {DAY_MS}"

Groups = Iterator[tuple[Any, Any]]


def check(by: str, choices: Iterable[str]) -> None:
    """Raises ParameterError for what is none of the choices."""
    if by not in choices:
        raise ParameterError(f"by is one of {', '.join(choices)}")


def top(
    by: str, groups: Iterable[tuple[Any, Any]], weight: Callable[[tuple[Any, Any]], Any]
) -> list[tuple[Any, Any]]:
    """The heaviest groups, heaviest first; of days the latest, in their order."""
    if by != "day":
        return heapq.nlargest(MAX_ITEMS, groups, key=weight)
    days = heapq.nlargest(MAX_ITEMS, groups, key=lambda group: group[0])
    epoch = date(1970, 1, 1)
    return [((epoch + timedelta(days=day)).isoformat(), rest) for day, rest in reversed(days)]
