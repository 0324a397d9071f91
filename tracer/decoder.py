"""From the JSON text of one event to the row that is stored. Runs in request threads, pure.

Two roads with the same end. The fast one decodes straight into a struct whose fields have the
right names and types. What it refuses (aliases, unknown fields, numeric strings, lone surrogates)
takes the lenient one, which reads field by field and ends in the same struct or in a clear error.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from tracer import json_text, redact, timestamps
from tracer.errors import EventError
from tracer.events import Event
from tracer.fields import SHORT_TEXT_BYTES, Amount, Text, WireField
from tracer.identity import identify
from tracer.ledger import Rejection
from tracer.pricing import Prices

_NO_RAW = Raw()
_ROW_OVERHEAD_BYTES = 2048
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


class Record(NamedTuple):
    """An accepted event on its way to the database: `row` follows `kind.stored_columns()`."""

    kind: type[Event]
    row: tuple[Any, ...]
    size_bytes: int

    @property
    def trace_id(self) -> str:
        return str(self.row[0])

    @property
    def received_at(self) -> int:
        """Epoch milliseconds."""
        return int(self.row[self.kind.stored_columns().index("received_at")])


class EventDecoder:
    """Reads events of one kind. Stateless after construction, safe in all threads."""

    def __init__(
        self,
        kind: type[Event],
        *,
        agent_id: str,
        max_text_bytes: int,
        prices: Prices,
        is_redacting: bool,
    ) -> None:
        self._kind = kind
        self._is_redacting = is_redacting
        self._prices = prices
        self._agent_id = agent_id
        fields = kind.wire_fields()
        self._struct = msgspec.defstruct(
            kind.__name__,
            [
                (f.name, f.annotation)
                if f.required
                else (f.name, f.annotation, _NO_RAW if f.annotation is Raw else f.default)
                for f in fields
            ],
            rename={f.name: f.wire_name for f in fields},
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._fast = msgspec.json.Decoder(self._struct)
        self._texts = tuple(
            (f.name, max_text_bytes if f.long else SHORT_TEXT_BYTES)
            for f in fields
            if isinstance(f, Text)
        )
        self._shortest_limit = min(limit for _, limit in self._texts)
        self._required = tuple(f.name for f in fields if f.required)
        self._defaults = tuple((f.name, f.default) for f in fields if f.default is not None)
        self._readers = {name: reader for f in fields for name, reader in _readers(f)}

    def decode(self, text: bytes, received_at: int) -> Record:
        """Raises EventError with the reason, the field and a sentence."""
        try:
            return self._decode(text, received_at)
        except RecursionError:
            raise EventError(Rejection.TOO_DEEP, "nested too deep") from None
        except EventError as error:
            if not self._is_redacting:
                raise
            sentence = redact.text(str(error))  # may quote what was sent
            raise EventError(error.reason, sentence, error.field) from None

    def _decode(self, text: bytes, received_at: int) -> Record:
        is_ascii = text.isascii()
        if not is_ascii:
            json_text.check_utf8(text)
        json_text.check_members(text)
        unknown: dict[str, Raw] = {}
        event: Any
        try:
            event = self._fast.decode(text)
        except msgspec.DecodeError:
            event = self._decode_leniently(text, unknown)
        # Python takes four bytes a character as soon as a text has one outside the basic plane.
        width = 1 if is_ascii and b"\\u" not in text else 4
        size_bytes = _ROW_OVERHEAD_BYTES + width * len(text)
        # Before texts are cut: ids may differ in their last character only.
        identity = identify(self._kind.type_name, event.trace_id, event.span_id)
        event.trace_id = identity.trace_id
        # A text is never longer than the JSON it came in, so most events have none to cut.
        truncated = self._cut_texts(event) if len(text) > self._shortest_limit else {}
        computed = self._complete(event, unknown, truncated, received_at)
        otel_trace_id = identity.otel_trace_id and _cut(identity.otel_trace_id, SHORT_TEXT_BYTES)
        if self._is_redacting and redact.is_suspect(text):
            self._redact(event)
            otel_trace_id = otel_trace_id and redact.text(otel_trace_id)
        row = (
            *msgspec.structs.astuple(event),
            otel_trace_id,
            received_at,
            *computed,
        )
        return Record(self._kind, row, size_bytes)

    def _decode_leniently(self, text: bytes, unknown: dict[str, Raw]) -> Any:
        """The struct; members without a field are put into `unknown`."""
        try:
            members = _OBJECT.decode(json_text.mend(text))
        except msgspec.ValidationError:
            raise EventError(Rejection.WRONG_TYPE, "an event is a JSON object") from None
        except msgspec.DecodeError as error:
            raise EventError(Rejection.NOT_JSON, str(error)) from None
        values: dict[str, Any] = {}
        for name, raw in members.items():
            reader = self._readers.get(name)
            if reader is None or reader.field in values or reader.yields_to(name, members):
                unknown[name] = raw
            elif (value := bytes(raw)) != b"null":
                try:
                    values[reader.field] = reader.read(value)
                except EventError as error:
                    raise EventError(error.reason, f"{name}: {error}", name) from None
        for name in self._required:
            if name not in values:
                raise EventError(Rejection.MISSING_FIELD, f"{name} is required", name)
        return self._struct(**values)

    def _complete(
        self, event: Any, unknown: dict[str, Raw], truncated: dict[str, int], received_at: int
    ) -> tuple[Any, ...]:
        """Fills in what a validated event lacks, whichever road it came; the computed columns."""
        if event.created_at is None:
            event.created_at = received_at
        else:
            try:
                event.created_at = timestamps.parse_ms(event.created_at)
            except EventError as error:
                raise EventError(error.reason, f"timestamp: {error}", "timestamp") from None
        if event.agent_id is None:
            event.agent_id = self._agent_id
        computed = self._kind.complete(event, unknown, self._prices)
        for name, default in self._defaults:
            if getattr(event, name) is None:
                setattr(event, name, default)
        event.metadata = _metadata(event.metadata, unknown, truncated)
        return computed

    def _redact(self, event: Any) -> None:
        """After texts were cut: what is left of a secret at their end is still found."""
        for name, _ in self._texts:
            value = getattr(event, name)
            if value is not None:
                setattr(event, name, redact.text(value))
        if event.metadata is not None:
            event.metadata = redact.json_text(event.metadata)

    def _cut_texts(self, event: Any) -> dict[str, int]:
        """Cuts texts over their limit; returns the original UTF-8 size of each that was cut."""
        truncated: dict[str, int] = {}
        for name, limit in self._texts:
            text = getattr(event, name)
            if text is None or len(text) * 4 <= limit:
                continue
            kept = _cut(text, limit)
            if kept is not text:
                truncated[name] = len(text.encode())
                setattr(event, name, kept)
        return truncated


def _cut(text: str, limit: int) -> str:
    """The text itself, or as many whole characters as fit into `limit` bytes."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")


class _Reader(NamedTuple):
    """How one name on the wire is read into a field; the field's `wire_name` has precedence."""

    field: str
    wire_name: str
    read: Callable[[bytes], Any]

    def yields_to(self, name: str, members: Mapping[str, Raw]) -> bool:
        sent = members.get(self.wire_name)
        return name != self.wire_name and sent is not None and bytes(sent) != b"null"


def _readers(field: WireField) -> Iterator[tuple[str, _Reader]]:
    for name in (field.wire_name, *field.aliases):
        yield name, _Reader(field.name, field.wire_name, field.read)
    if isinstance(field, Amount):
        for name in field.aliases_in_s:
            yield name, _Reader(field.name, field.wire_name, lambda text: field.read(text) * 1000)


def _metadata(raw: Raw, unknown: Mapping[str, Raw], truncated: Mapping[str, int]) -> str | None:
    """The text of the metadata column, or None when there is nothing to keep."""
    text = bytes(raw)
    if text in (b"", b"null"):
        if not unknown and not truncated:
            return None
        text = b"{}"
    try:
        if text[:1] == b'"':
            text = json_text.mend(msgspec.json.decode(text, type=str).encode())
        elif text[:1] == b"{" and not unknown and not truncated:
            return _checked(text)
        own = {"truncated": Raw(msgspec.json.encode(truncated))} if truncated else {}
        members = json_text.merge(json_text.merge(own, _OBJECT.decode(text)), unknown)
        return _checked(msgspec.json.encode(members))
    except msgspec.DecodeError:
        raise EventError(
            Rejection.WRONG_TYPE,
            "metadata: expected an object, or a string that holds one",
            "metadata",
        ) from None
    except EventError as error:
        raise EventError(error.reason, f"metadata: {error}", "metadata") from None


def _checked(text: bytes) -> str:
    json_text.check_depth(text)
    json_text.check_numbers(text)
    return text.decode()
