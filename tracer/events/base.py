"""What all kinds of event have in common: their identity, times, owner and delivery state."""

from typing import Any, ClassVar

import peewee
from msgspec import Raw
from playhouse.sqlite_ext import AutoIncrementField

from tracer.fields import Count, Json, Text, Timestamp, WireField
from tracer.pricing import Prices


class Event(peewee.Model):
    """A kind of event: its table, its wire format and its documentation in one declaration.

    Subclasses add their fields, `type_name` (`type` in a pushed batch) and `route`, which those
    that only the sidecar itself reports do without. `list_route` reads them back, by equality of
    the columns in `filters`, the most telling first, each with an index (`tracer.schema`).
    """

    type_name: ClassVar[str]
    route: ClassVar[str | None] = None
    list_route: ClassVar[str]
    filters: ClassVar[tuple[str, ...]] = ()

    # Never reused, so a range of ids names the same rows for ever.
    id = AutoIncrementField()
    trace_id = Text("identity: a UUID; the same one again stores nothing", unique=True, null=False)
    otel_trace_id = Text(
        "the trace id as sent, where `trace_id` was derived from it", computed=True
    )
    span_id = Text("OpenTelemetry span; with `trace_id` it forms the identity")
    created_at = Timestamp(
        "when it happened: ISO 8601, epoch seconds or epoch milliseconds; default: on arrival",
        wire_name="timestamp",
        aliases=("created_at",),
        null=False,
    )
    received_at = Count("when it arrived here", computed=True, null=False)
    agent_id = Text("the agent; default: `TRACE_AGENT_ID`", aliases=("gen_ai.agent.id",))
    metadata = Json("anything else; unknown fields join it")
    pushed_at = Count("when a remote confirmed it", computed=True)
    push_error = Text("why the remote refuses this row for good", computed=True)

    class Meta:
        legacy_table_names = False

    @classmethod
    def wire_fields(cls) -> list[WireField]:
        """The columns an event may carry, in the order of the table."""
        return [f for f in cls._fields() if not f.computed]

    @classmethod
    def stored_columns(cls) -> list[str]:
        """The columns of one INSERT: those of the wire, then the computed ones set at ingest."""
        later = ("pushed_at", "push_error")
        computed = [f.name for f in cls._fields() if f.computed and f.name not in later]
        return [f.name for f in cls.wire_fields()] + computed

    @classmethod
    def listed_columns(cls) -> list[str]:
        """What a list shows: all but `id`, which means nothing outside."""
        return [*cls.stored_columns(), "pushed_at", "push_error"]

    @classmethod
    def complete(cls, event: Any, unknown: dict[str, Raw], prices: Prices) -> tuple[Any, ...]:
        """Fills what follows from the other fields of a validated event, in place.

        Values that lose their column by that go to `unknown`, which joins `metadata`. Returns the
        kind's own computed columns, in the order of the table.
        """
        return ()

    @classmethod
    def _fields(cls) -> list[WireField]:
        return [f for f in cls._meta.sorted_fields if isinstance(f, WireField)]
