"""Counts what is odd about data that was taken all the same, with examples for `/health`."""

import threading
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from cachetools import LRUCache

MAX_EXAMPLES: Final = 50
"""Most names kept of each finding; the rarest seen longest ago make room."""

SHOWN_EXAMPLES: Final = 5


class Finding(StrEnum):
    """What can be odd. The closed list; its documentation is the sentence of each."""

    UNKNOWN_MODEL = "unknown_model"
    TOKENS_INCONSISTENT = "tokens_inconsistent"
    COST_MISMATCH = "cost_mismatch"


_SENTENCES: Final = {
    Finding.UNKNOWN_MODEL: "no price for the model, so cost_usd is NULL",
    Finding.TOKENS_INCONSISTENT: "the parts are more than the whole, so cost_usd is not computed: "
    "prompt_tokens must include cached tokens, completion_tokens reasoning",
    Finding.COST_MISMATCH: "cost_usd as sent is more than 20 % off the price table",
}


class Quality:
    """The counters of this process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Finding] = Counter()
        self._examples: dict[Finding, LRUCache[str, int]] = {
            finding: LRUCache(MAX_EXAMPLES) for finding in Finding
        }

    def note(self, finding: Finding, example: str) -> None:
        """One more of it; `example` names what is concerned, such as a model."""
        with self._lock:
            self._counts[finding] += 1
            examples = self._examples[finding]
            examples[example] = examples.get(example, 0) + 1

    def counts(self) -> dict[str, int]:
        """By finding, those that occurred."""
        with self._lock:
            return {str(finding): count for finding, count in self._counts.items()}

    def warnings(self) -> Iterator[str]:
        """A sentence for each finding, with the most frequent examples."""
        with self._lock:
            found: list[tuple[Finding, int, Any]] = [
                (finding, count, Counter(dict(self._examples[finding])))
                for finding, count in self._counts.items()
            ]
        for finding, count, examples in found:
            named = ", ".join(f"{name} ({n})" for name, n in examples.most_common(SHOWN_EXAMPLES))
            yield f"{finding}: {_SENTENCES[finding]}, {count} calls: {named}"
