"""Column types that also read the wire: one declaration gives column, validation and documentation.

A field knows its JSON type and range, the other names under which callers send it, and its help.
`wire_type` goes into the fast decoder; `read` takes what that one refuses (see `tracer.decoder`).
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import peewee
from msgspec import Meta, Raw

from tracer.errors import EventError
from tracer.ledger import Rejection

MAX_COUNT: Final = 10**12
"""Largest count or duration: beyond any real one, and sums over millions of rows fit 64 bits."""

LARGEST: Final = 2**53
"""Largest size or time: the last whole number that every reader of JSON holds exactly."""

SHORT_TEXT_BYTES: Final = 4096
"""Longest stored name or id. Long texts have `TRACE_MAX_TEXT_BYTES`."""


class WireField(peewee.Field):
    """A column that an event may carry; `required` ones must be sent.

    `computed` columns are ours: not read from the wire. `source` says where a measured value is
    read.
    """

    wire_type: Any = None

    def __init__(
        self,
        help_text: str,
        *,
        required: bool = False,
        computed: bool = False,
        wire_name: str | None = None,
        aliases: tuple[str, ...] = (),
        example: object = None,
        source: str = "",
        **options: Any,
    ) -> None:
        options.setdefault("null", not required)
        super().__init__(help_text=help_text, **options)
        self._wire_name = wire_name
        self.required = required
        self.computed = computed
        self.aliases = aliases
        self.example = example
        self.source = source

    @property
    def wire_name(self) -> str:
        """The name callers should send it under; `aliases` are read as well."""
        return self._wire_name or str(self.name)

    @property
    def annotation(self) -> Any:
        """The type of this field in the fast decoder's struct."""
        return self.wire_type if self.required else self.wire_type | None

    def read(self, text: bytes) -> Any:
        """Reads the JSON text of one value leniently; raises EventError without a field name."""
        value = _decode(text, self.wire_type)
        if isinstance(value, float) and math.isnan(
            value
        ):  # the string "nan" is a number to a lenient reader
            raise EventError(Rejection.OUT_OF_RANGE, "is not a number")
        return value


class Text(WireField):
    """Text. `long` texts are cut at `TRACE_MAX_TEXT_BYTES`, others at `SHORT_TEXT_BYTES`.

    One that `joins` also takes an array of texts, and joins them by commas.
    """

    field_type = "TEXT"

    def __init__(
        self, help_text: str, *, long: bool = False, joins: bool = False, **options: Any
    ) -> None:
        super().__init__(help_text, **options)
        self.long = long
        self.joins = joins
        self.wire_type = Annotated[str, Meta(min_length=1)] if self.required else str

    def read(self, text: bytes) -> Any:
        if self.joins and text[:1] == b"[":
            return ",".join(_decode(text, list[str]))
        return super().read(text)


class Choice(WireField):
    """One of a few words; `synonyms` and any letter case are read as well."""

    field_type = "TEXT"

    def __init__(
        self,
        help_text: str,
        words: tuple[str, ...],
        synonyms: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(help_text, **options)
        self.words = words
        self.synonyms = synonyms or {}
        self.wire_type = Literal[words]

    def read(self, text: bytes) -> str:
        sent: str = _decode(text, str)
        word = self.synonyms.get(sent.lower(), sent.lower())
        if word not in self.words:
            raise EventError(
                Rejection.BAD_VALUE, f"{sent[:40]!r} is not one of {', '.join(self.words)}"
            )
        return word


class Count(WireField):
    """A whole number from 0."""

    field_type = "INTEGER"
    wire_type = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


class LargeCount(Count):
    """A count that may be larger: bytes of a volume, milliseconds since the epoch."""

    wire_type = Annotated[int, Meta(ge=0, le=LARGEST)]


class Amount(WireField):
    """A number from 0, whole or not. NUMERIC keeps 12 as 12 and 12.5 as 12.5.

    Under `aliases_in_s` callers send a `_ms` field in seconds.
    """

    field_type = "NUMERIC"
    wire_type = Annotated[float, Meta(ge=0, le=MAX_COUNT)]

    def __init__(
        self, help_text: str, *, aliases_in_s: tuple[str, ...] = (), **options: Any
    ) -> None:
        super().__init__(help_text, **options)
        self.aliases_in_s = aliases_in_s


class Timestamp(WireField):
    """A time. Read in several forms (`tracer.timestamps`), stored in epoch milliseconds."""

    field_type = "INTEGER"
    wire_type = int | float | str


class Json(WireField):
    """A JSON object, kept as text. A string that holds such an object is read as well."""

    field_type = "TEXT"
    wire_type = Raw

    @property
    def annotation(self) -> Any:
        return Raw  # takes null, too; an absent one is empty


def _decode(text: bytes, wire_type: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=wire_type, strict=False)
    except msgspec.ValidationError as error:
        sentence = str(error).partition(" - at ")[0]
        raise EventError(_reason(sentence), sentence[:1].lower() + sentence[1:]) from None


def _reason(message: str) -> Rejection:
    """Sorts msgspec's sentences: a bound is named with `<=` or `>=`, a type is not."""
    if "out of range" in message or "<=" in message or ">=" in message:
        return Rejection.OUT_OF_RANGE
    return Rejection.WRONG_TYPE
