"""Anything else worth keeping, under a name of the agent's choice."""

from tracer.events.base import Event
from tracer.events.error_event import SEVERITIES, SEVERITY_SYNONYMS
from tracer.fields import Amount, Choice, Text


class CustomEvent(Event):
    """A named event."""

    type_name = "custom_event"
    route = "/v1/events"
    list_route = "/v1/events"
    filters = ("session_id", "name", "severity")

    name = Text("what it is", required=True, example="tool_call")
    session_id = Text("the conversation")
    run_id = Text("the agent's run")
    severity = Choice("weight", SEVERITIES, SEVERITY_SYNONYMS)
    duration_ms = Amount("how long it took")

    class Meta:
        table_name = "custom_events"
