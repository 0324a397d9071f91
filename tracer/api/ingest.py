"""POST of events: validate, queue, answer at once (contract section 3)."""

from typing import Any, Final, TypedDict

import falcon
import msgspec

from tracer.api import body, refusals
from tracer.api.otlp import Otlp, speaks_protobuf
from tracer.api.splitter import Splitter
from tracer.decoder import EventDecoder, Record
from tracer.errors import EventError
from tracer.intake import Intake, NotTaken, Receipt
from tracer.ledger import Ledger, Rejection
from tracer.timestamps import now_ms

WAIT_S: Final = 5.0

_encode = msgspec.json.Encoder().encode


class Fault(TypedDict):
    """One rejected event; `index` is None where the fault is the body's as a whole."""

    index: int | None
    field: str | None
    message: str


class Ingest:
    """The route of one kind of event."""

    def __init__(
        self,
        decoder: EventDecoder,
        splitter: Splitter,
        intake: Intake,
        ledger: Ledger,
        reader: body.BodyReader,
        *,
        otlp: Otlp | None = None,
    ) -> None:
        """`otlp` answers what comes to this route as OTLP."""
        self._otlp = otlp
        self._decoder = decoder
        self._intake = intake
        self._ledger = ledger
        self._reader = reader
        self._splitter = splitter

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        if self._otlp is not None and speaks_protobuf(request):
            self._otlp.on_post(request, response)
            return
        try:
            media = body.media_type(request)
            with self._reader.body(request) as held:
                sent = held.pop()
                if self._otlp is not None and media == body.JSON and self._otlp.is_meant(sent):
                    self._otlp.answer(response, sent, is_json=True)
                    return
                texts = self._splitter.split(sent, media)
                del sent
                self._take(request, response, texts)
        except EventError as error:
            self.refuse(response, Rejection(error.reason), str(error))
        except Exception:
            self._ledger.reject(Rejection.INTERNAL)
            raise

    def _take(self, request: falcon.Request, response: falcon.Response, texts: list[bytes]) -> None:
        """Queues the good events and answers."""
        try:
            if len(texts) > 1:
                self._intake.check(len(texts))
            self._offer(request, response, texts)
        except NotTaken as refusal:
            fault = Fault(index=None, field=None, message=str(refusal))
            status = refusals.status(response, refusal.reason)
            _answer(response, status, [], [fault], rejected=len(texts))

    def _offer(
        self, request: falcon.Request, response: falcon.Response, texts: list[bytes]
    ) -> None:
        records, faults = self._decode_all(texts)
        if not records:
            _answer(response, falcon.HTTP_400, [], faults, rejected=len(faults))
            return
        receipt = Receipt(len(records)) if _asks_to_wait(request) else None
        self._intake.offer(records, receipt=receipt)
        if receipt is None:
            _answer(response, falcon.HTTP_202, records, faults, rejected=len(faults))
        else:
            _answer_when_stored(response, receipt, records, faults)

    def refuse(self, response: falcon.Response, reason: Rejection, message: str) -> None:
        """Answers a request whose body was not read; it counts as one received and one rejected."""
        self._ledger.reject(reason)
        fault = Fault(index=None, field=None, message=message)
        _answer(response, refusals.status(response, reason), [], [fault], rejected=1)

    def _decode_all(self, texts: list[bytes]) -> tuple[list[Record], list[Fault]]:
        received_at = now_ms()
        records: list[Record] = []
        faults: list[Fault] = []
        for index in range(len(texts)):
            text, texts[index] = texts[index], b""  # frees it once it is decoded
            try:
                records.append(self._decoder.decode(text, received_at))
            except EventError as error:
                self._ledger.reject(Rejection(error.reason))
                faults.append(Fault(index=index, field=error.field, message=str(error)))
        return records, faults


def _asks_to_wait(request: falcon.Request) -> bool:
    """`Prefer: wait` (RFC 7240), alone or among others, with or without a number of seconds."""
    prefer = request.env.get("HTTP_PREFER")
    if prefer is None:
        return False
    names = (part.partition(";")[0].partition("=")[0] for part in prefer.split(","))
    return any(name.strip().lower() == "wait" for name in names)


def _answer(
    response: falcon.Response,
    status: str,
    records: list[Record],
    faults: list[Fault],
    *,
    rejected: int,
) -> None:
    answer: dict[str, Any] = {
        "accepted": len(records),
        "rejected": rejected,
        "trace_ids": [record.trace_id for record in records],
        "errors": faults,
    }
    response.status = status
    response.data = _encode(answer)  # JSON is the default type


def _answer_when_stored(
    response: falcon.Response, receipt: Receipt, records: list[Record], faults: list[Fault]
) -> None:
    """Blocks until the commit. After a 503 the events may still be stored: their ids are given, so
    that sending them again is safe.
    """
    response.set_header("Preference-Applied", "wait")
    rejected = len(faults)
    status, problem = falcon.HTTP_200, None
    if not receipt.wait(WAIT_S):
        problem = f"not stored within {WAIT_S:g} s"
        status = refusals.status(response, Rejection.UNAVAILABLE)
    elif receipt.lost:
        status, problem = falcon.HTTP_503, f"the database refused {receipt.lost} of the events"
    if problem is not None:
        faults.append(Fault(index=None, field=None, message=problem))
    _answer(response, status, records, faults, rejected=rejected)
