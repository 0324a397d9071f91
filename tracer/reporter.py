"""Events the sidecar makes itself take the same way as those of the agent: validated, counted."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tracer.decoder import EventDecoder
from tracer.errors import EventError
from tracer.events import ErrorEvent, Event
from tracer.intake import Intake, NotTaken
from tracer.ledger import Ledger, Rejection
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

MAX_PER_HOUR: Final = 20
"""Error events of one category: what goes wrong again and again is counted, not repeated."""


class Report(NamedTuple):
    """Something that went wrong with the host, the agent or ourselves."""

    error_type: str
    category: str | None
    message: str
    severity: str = "error"
    metadata: Mapping[str, Any] = {}


class Reporter:
    """Never blocks and never raises, so any thread may use it."""

    def __init__(
        self,
        decoders: Mapping[type[Event], EventDecoder],
        intake: Intake,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoders = decoders
        self._intake = intake
        self._ledger = ledger
        self._clock = clock
        self._reported_at: dict[str, deque[float]] = {}
        self._withheld: Counter[str] = Counter()

    def offer(self, kind: type[Event], events: Iterable[Mapping[str, Any]]) -> bool:
        """Whether the intake took them: all or none. A refusal is counted in the ledger."""
        received_at = now_ms()
        records = []
        for event in events:
            try:
                text = msgspec.json.encode(event)
                records.append(self._decoders[kind].decode(text, received_at))
            except EventError as error:
                self._ledger.reject(Rejection(error.reason))
                log.error("a %s of our own is not valid: %s", kind.type_name, error)
        try:
            if records:
                self._intake.offer(records)
        except NotTaken as refusal:
            log.debug("%s not stored: %s", kind.type_name, refusal)
            return False
        return True

    def report(self, report: Report) -> bool:
        """Makes an error event and a log line; whether that is done, or trying again makes sense.

        Beyond `MAX_PER_HOUR` of a category it is only counted, for the next one to tell.
        """
        key = report.category or report.error_type
        times = self._reported_at.setdefault(key, deque(maxlen=MAX_PER_HOUR))
        now = self._clock()
        if len(times) == MAX_PER_HOUR and now - times[0] < 3600:
            self._withheld[key] += 1
            return True
        metadata = {"source": "sidecar", **report.metadata}
        if self._withheld[key]:
            metadata["withheld"] = self._withheld[key]
        event = {**report._asdict(), "metadata": metadata}
        if not self.offer(ErrorEvent, [event]):
            return False
        log.log(
            logging.getLevelName(report.severity.upper()),
            "%s: %s",
            report.error_type,
            report.message,
        )
        times.append(now)
        del self._withheld[key]
        return True
