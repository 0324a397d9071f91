"""OTLP/HTTP: OpenTelemetry's answers, on the paths of our own events (contract section 3)."""

import time
from collections.abc import Mapping
from typing import Final

import falcon
import msgspec

from tracer.api import body, refusals
from tracer.decoder import EventDecoder, Record
from tracer.errors import EventError
from tracer.events import Event
from tracer.intake import Intake, NotTaken
from tracer.ledger import Ledger, Rejection
from tracer.otlp import Signal, Translator
from tracer.protobuf import field
from tracer.timestamps import now_ms

PROTOBUF: Final = "application/x-protobuf"
ROOM_S: Final = 2.0
"""How long a body that is larger than the room in the queue waits for the writer."""

_REJECTED: Final = {
    Signal.TRACES: "rejectedSpans",
    Signal.LOGS: "rejectedLogRecords",
    Signal.METRICS: "rejectedDataPoints",
}

INVALID_ARGUMENT: Final = 3  # google.rpc.Code


class Otlp:
    """One signal. Ids of spans, or the content, are the identity: sending again is safe."""

    def __init__(
        self,
        signal: Signal,
        translator: Translator,
        decoders: Mapping[type[Event], EventDecoder],
        intake: Intake,
        ledger: Ledger,
        *,
        reader: body.BodyReader,
    ) -> None:
        self._signal = signal
        self._translator = translator
        self._decoders = decoders
        self._intake = intake
        self._ledger = ledger
        self._reader = reader

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        is_json = _media_type(request) == body.JSON
        try:
            if not is_json and _media_type(request) != PROTOBUF:
                raise EventError(
                    Rejection.UNSUPPORTED_TYPE,
                    f"send the header Content-Type: {PROTOBUF} or {body.JSON}",
                )
            with self._reader.body(request) as held:
                self.answer(response, held.pop(), is_json=is_json)
        except EventError as error:
            self.refuse_body(response, error, is_json=is_json)

    def is_meant(self, sent: bytes) -> bool:
        """Whether a JSON body on a route of our own is OTLP."""
        return self._translator.is_otlp(sent)

    def answer(self, response: falcon.Response, sent: bytes, *, is_json: bool) -> None:
        """Takes a body that was read, and answers in its encoding."""
        try:
            records, faults = self._records(sent, is_json=is_json)
        except EventError as error:
            self.refuse_body(response, error, is_json=is_json)
            return
        except Exception:
            self._ledger.reject(Rejection.INTERNAL)
            raise
        if faults and not records:
            for fault in faults[1:]:
                self._ledger.reject(Rejection(fault.reason))
            self.refuse_body(response, faults[0], is_json=is_json)
            return
        try:
            self._offer(records)
        except NotTaken as refusal:
            _fail(response, refusal.reason, str(refusal), is_json=is_json)
            return
        for fault in faults:
            self._ledger.reject(Rejection(fault.reason))
        _succeed(response, self._signal, faults, is_json=is_json)

    def refuse(self, response: falcon.Response, reason: Rejection, message: str) -> None:
        """Answers a request whose body was not read; it counts as one received and one rejected."""
        self.refuse_body(response, EventError(reason, message), is_json=True)

    def refuse_body(self, response: falcon.Response, error: EventError, *, is_json: bool) -> None:
        """The same for one that was, in its encoding."""
        reason = Rejection(error.reason)
        self._ledger.reject(reason)
        _fail(response, reason, str(error), is_json=is_json)

    def _records(self, sent: bytes, *, is_json: bool) -> tuple[list[Record], list[EventError]]:
        received_at = now_ms()
        records: list[Record] = []
        faults: list[EventError] = []
        for found in self._translator.translate(sent, self._signal, is_json=is_json):
            if isinstance(found, EventError):
                faults.append(found)
                continue
            kind, event = found
            try:
                text = msgspec.json.encode(event)
                records.append(self._decoders[kind].decode(text, received_at))
            except EventError as error:
                faults.append(error)
            except (OverflowError, ValueError, RecursionError) as error:
                faults.append(EventError(Rejection.BAD_VALUE, str(error)))
        return records, faults

    def _offer(self, records: list[Record]) -> None:
        """In pieces, as one body may hold more than the queue. Raises NotTaken: what was taken
        before that is known when the body is sent again.
        """
        deadline = time.monotonic() + ROOM_S
        piece = max(1, self._intake.capacity // 2)
        for start in range(0, len(records), piece):
            part = records[start : start + piece]
            while start and not self._intake.would_take(len(part)):
                if time.monotonic() > deadline:
                    break
                self._intake.drained(0.05)
            self._intake.offer(part)


def speaks_protobuf(request: falcon.Request) -> bool:
    """Whether the request's type alone says that it is OTLP."""
    return _media_type(request) == PROTOBUF


def _media_type(request: falcon.Request) -> str:
    sent: str = request.env.get("CONTENT_TYPE", "")
    return sent.partition(";")[0].strip().lower()


def _succeed(
    response: falcon.Response, signal: Signal, faults: list[EventError], *, is_json: bool
) -> None:
    response.status = falcon.HTTP_200
    if not is_json:
        partial = field(1, len(faults)) + field(2, str(faults[0]).encode()) if faults else b""
        response.content_type = PROTOBUF
        response.data = field(1, partial) if faults else b""
        return
    answer = {}
    if faults:
        partial_success = {_REJECTED[signal]: str(len(faults)), "errorMessage": str(faults[0])}
        answer = {"partialSuccess": partial_success}
    response.data = msgspec.json.encode(answer)


def _fail(response: falcon.Response, reason: Rejection, message: str, *, is_json: bool) -> None:
    """A google.rpc.Status."""
    response.status = refusals.status(response, reason)
    if is_json:
        response.data = msgspec.json.encode({"code": INVALID_ARGUMENT, "message": message})
    else:
        response.content_type = PROTOBUF
        response.data = field(1, INVALID_ARGUMENT) + field(2, message.encode())
