"""Something that went wrong: a failed call, a crash, a fault of the host."""

from typing import Any

from tracer.events.base import Event
from tracer.fields import Choice, Text

SEVERITIES = ("debug", "info", "warning", "error", "critical")
SEVERITY_SYNONYMS = {"warn": "warning", "err": "error", "fatal": "critical"}


class ErrorEvent(Event):
    """An error. An `error_type` of the agent's own becomes the category of a `system_error`."""

    type_name = "error_event"
    route = "/v1/errors"

    error_type = Text(
        "`llm_error`, `crash` or `system_error`; another value is kept as `category`",
        required=True,
        example="llm_error",
    )
    message = Text("what happened", long=True, required=True, example="429 Too Many Requests")
    category = Text("cause, such as `rate_limit`", example="rate_limit")
    stack_trace = Text("where it happened", long=True)
    severity = Choice("weight", SEVERITIES, SEVERITY_SYNONYMS, default="error")
    alert_level = Text("the agent's own alert level")
    provider = Text("provider of the failed call")
    model = Text("model of the failed call")
    session_id = Text("the conversation")

    class Meta:
        table_name = "error_events"

    @classmethod
    def complete(cls, event: Any) -> dict[str, str]:
        if event.error_type in ("llm_error", "crash", "system_error"):
            return {}
        sent, event.error_type = event.error_type, "system_error"
        if event.category is None:
            event.category = sent
            return {}
        return {"error_type": sent}
