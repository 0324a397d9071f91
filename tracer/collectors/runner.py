"""Runs the collectors of one pass, each within a budget of time, so that one costs only itself."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from tracer.collectors.base import Collector, Reading

log = logging.getLogger(__name__)

BUDGET_S: Final = 2.0
"""For one collector. A pass takes milliseconds; what takes longer hangs, as on a dead mount."""


class PassResult(NamedTuple):
    """The readings of all collectors together, and the names of those without one."""

    values: dict[str, Any]
    facts: dict[str, Any]
    skipped: list[str]


class _Relay:
    """One thread's share of a pass. Once abandoned, its late answer is dropped."""

    def __init__(self) -> None:
        self.answers: SimpleQueue[Reading | Exception | None] = SimpleQueue()
        self.is_abandoned = False


class Runner:
    """The collectors run in a thread that lives for one pass. When one hangs, its thread is left
    behind, another takes the rest, and that collector is skipped until it comes back.
    """

    def __init__(self, collectors: Mapping[str, Collector], budget_s: float = BUDGET_S) -> None:
        self.skips: Counter[str] = Counter()
        """Collector → passes without its columns, since the start."""
        self.missing: list[str] = []
        """Those without columns in the last pass."""
        self.is_cancelled = False
        self._collectors = collectors
        self._budget_s = budget_s
        self._stuck: set[str] = set()
        self._failing: set[str] = set()
        self._lock = threading.Lock()
        self._relay = _Relay()

    def run(self) -> PassResult:
        """One pass; blocks, for the budget of each collector that hangs at most. Never raises."""
        result = PassResult({}, {}, [])
        with self._lock:
            names = [name for name in self._collectors if name not in self._stuck]
            result.skipped.extend(self._stuck)
        while names and not self.is_cancelled:
            self._relay = relay = _Relay()
            work = (relay, tuple(names))
            try:
                threading.Thread(target=self._work, args=work, name="collect", daemon=True).start()
            except RuntimeError:  # no thread left to be had: then above all we want to know
                self._work(*work)
            while names:
                name = names.pop(0)
                answer = self._await(relay, name)
                if isinstance(answer, Reading):
                    result.values.update(answer.values)
                    result.facts.update(answer.facts)
                    self._failing.discard(name)
                    continue
                result.skipped.append(name)
                if answer is None:
                    break
                self._note_failure(name, answer)
        self.skips.update(result.skipped)
        self.missing = result.skipped
        return result

    def cancel(self) -> None:
        """Ends the wait of `run`, for good. Any thread."""
        self.is_cancelled = True
        self._relay.answers.put(None)

    def _await(self, relay: _Relay, name: str) -> Reading | Exception | None:
        """The answer of the collector whose turn it is; None: too late, its thread is given up."""
        try:
            answer = relay.answers.get(timeout=self._budget_s)
        except Empty:
            with self._lock:
                if not relay.answers.empty():  # it came at the last moment
                    return relay.answers.get()
                relay.is_abandoned = True
                self._stuck.add(name)
            log.error("metrics: %s did not answer within %g s, skipped", name, self._budget_s)
            return None
        if answer is None:
            relay.is_abandoned = True
        return answer

    def _work(self, relay: _Relay, names: tuple[str, ...]) -> None:
        for name in names:
            answer: Reading | Exception
            try:
                answer = self._collectors[name].collect()
            except Exception as error:
                answer = error
            with self._lock:
                if relay.is_abandoned:
                    self._stuck.discard(name)
                    return
                relay.answers.put(answer)

    def _note_failure(self, name: str, error: Exception) -> None:
        """Logs the first of a row."""
        if name not in self._failing:
            log.error("metrics: %s failed", name, exc_info=error)
        self._failing.add(name)
