"""Follows the gateway's log: new lines → events → intake, and remembers how far it got."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tracer.decoder import EventDecoder, Record
from tracer.errors import EventError, StoreError
from tracer.events import Event
from tracer.intake import Intake, NotTaken, Receipt
from tracer.ledger import Ledger, Rejection
from tracer.log_files import LogFiles, TextLine
from tracer.openclaw_log import Found, GatewayLog
from tracer.store import Store
from tracer.timestamps import now_ms

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
SAVE_S: Final = 5.0
"""How often the position is saved while lines come that are no events."""

WAIT_S: Final = 1.0
UNKNOWN_LINES: Final = 200
"""So many in a row that nobody understands are told in `/health`."""

MAX_STREAMS: Final = 8
STATE: Final = "log"

Write = Callable[[Callable[[Store], Any]], Any]


class Tailer:
    """One step reads what is new, hands it over and waits until it is committed; only then the
    position is saved. Killed in between, it reads the same lines again, and makes the same events
    with the same ids of them, which the store knows.

    With a full queue or a database that cannot be written nothing is read: the log keeps the lines.
    """

    def __init__(
        self,
        pattern: str,
        decoders: Mapping[type[Event], EventDecoder],
        intake: Intake,
        ledger: Ledger,
        write: Write,
    ) -> None:
        self._files = LogFiles(pattern)
        self._decoders = decoders
        self._intake = intake
        self._ledger = ledger
        self._write = write
        self._gateways: dict[str, GatewayLog] = {}
        self._is_restored = False
        self._is_interrupted = False
        self._records: list[Record] = []
        self._receipt: Receipt | None = None
        self._offered = 0
        self._is_dirty = False
        self._saved_at = 0.0
        self.lines = 0
        """Lines read since the start."""
        self.unknown_in_a_row = 0
        """Lines since the last one that was understood."""

    def run_once(self) -> float | None:
        """Reads all there is; blocks on files and until the events of it are committed."""
        if not (self._is_restored or self._restore()) or not self._settle():
            return LOOK_S
        self._files.look()
        for lines in self._files.read():
            self._is_dirty = True
            self._take_in(lines)
            if not self._settle() or self._is_interrupted:
                return None if self._is_interrupted else LOOK_S
        now = now_ms()
        self._add([found for gateway in self._gateways.values() for found in gateway.over(now)])
        if not self._settle():
            return LOOK_S
        if self._is_dirty and time.monotonic() - self._saved_at > SAVE_S:
            self._save()
        return None

    def interrupt(self) -> None:
        """Makes a long step end soon. Any thread."""
        self._is_interrupted = True

    def finish(self, by: float) -> None:
        """Waits for the last events until `by` (monotonic) and saves the position."""
        if self._receipt is not None:
            self._receipt.wait(max(0.0, by - time.monotonic()))
        if self._is_restored and self._settle(wait_s=0.0) and self._is_dirty:
            self._save()
        self._files.close()

    def warnings(self) -> list[str]:
        """What is wrong with the log, in words."""
        found = [] if self._files.trouble is None else [f"TRACE_LOG_PATH: {self._files.trouble}"]
        if self.unknown_in_a_row >= UNKNOWN_LINES:
            found.append(
                f"TRACE_LOG_PATH: the last {self.unknown_in_a_row} lines match nothing that is "
                "known of OpenClaw's log: is it the right file?"
            )
        return found

    def _take_in(self, lines: list[TextLine]) -> None:
        now = now_ms()
        for stream, where, text in lines:
            self.lines += 1
            try:
                found = self._gateway(stream).feed(text, where, now)
            except Exception:  # a bug of ours costs this line, not those behind it
                log.exception("a line of the log could not be read (%s)", where)
                found = None
            if found is not None:
                self.unknown_in_a_row = 0
                self._add(found)
            elif text.strip():
                self.unknown_in_a_row += 1

    def _gateway(self, stream: str) -> GatewayLog:
        """Profiles write side by side into one folder, and each has a life of its own."""
        gateway = self._gateways.pop(stream, None) or GatewayLog()
        self._gateways[stream] = gateway
        if len(self._gateways) > MAX_STREAMS:
            del self._gateways[next(iter(self._gateways))]
        return gateway

    def _add(self, found: list[Found]) -> None:
        for kind, event in found:
            try:
                record = self._decoders[kind].decode(msgspec.json.encode(event), now_ms())
            except EventError as error:
                self._ledger.reject(Rejection(error.reason))
                log.warning("an event of the log was not taken: %s", error)
            else:
                self._records.append(record)

    def _settle(self, wait_s: float = WAIT_S) -> bool:
        """Hands over what was found, in pieces that fit; whether all of it is committed and noted.

        False: try again later, before anything else is read.
        """
        while self._records:
            if self._receipt is None and not self._offer():
                return False
            assert self._receipt is not None
            if not self._receipt.wait(wait_s):
                return False
            del self._records[: self._offered]
            self._receipt = None
            self._is_dirty = True
            if not self._records:
                self._save()
        return True

    def _offer(self) -> bool:
        records = self._records[: max(1, self._intake.capacity // 2)]
        deadline = time.monotonic() + WAIT_S
        while not self._intake.would_take(len(records)):
            if self._is_interrupted or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        receipt = Receipt(len(records))
        try:
            self._intake.offer(records, receipt=receipt)
        except NotTaken:
            return False
        self._receipt, self._offered = receipt, len(records)
        return True

    def _restore(self) -> bool:
        """False while the database is not open."""
        try:
            saved = self._write(lambda store: store.recall(STATE))
        except StoreError:
            return False
        if saved is not None:
            try:
                state = msgspec.json.decode(saved)
                for stream, dumped in state["gateways"].items():
                    self._gateway(stream).load(dumped)
                self._files.load(state["files"])
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError):
                log.exception("the saved position in the log cannot be read: beginning anew")
                self._gateways.clear()
        self._is_restored = self._is_dirty = True  # that it looked once is worth saving, too
        return True

    def _save(self) -> None:
        """Only when everything read so far is committed."""
        state = {
            "files": self._files.dump(),
            "gateways": {stream: gateway.dump() for stream, gateway in self._gateways.items()},
        }
        text = msgspec.json.encode(state).decode()
        try:
            self._write(lambda store: store.remember(STATE, text))
        except Exception as error:  # then it is saved with what comes next
            log.warning("the position in the log was not saved: %s", error)
            return
        self._is_dirty = False
        self._saved_at = time.monotonic()
