"""Log records to events: errors, warnings, and whatever has an event name."""

from collections.abc import Iterator
from typing import Any, Final

from tracer.events import CustomEvent, ErrorEvent, Event
from tracer.otlp import names
from tracer.otlp.attributes import agent_id, content_id, metadata, text
from tracer.otlp.items import LogRecord

WARNING: Final = 13
ERROR: Final = 17
FATAL: Final = 21

Found = tuple[type[Event], dict[str, Any]]


def translate(record: LogRecord) -> Iterator[Found]:
    """Nothing for a record below warning without an event name: logs are not what this is for."""
    sent = record.attributes
    name = record.event_name or sent.get("event.name")
    if record.severity < WARNING and not name:
        return
    session = next((sent[n] for n in names.SESSION if isinstance(sent.get(n), str)), None)
    event: dict[str, Any] = {
        "trace_id": content_id(record),
        "timestamp": record.time_ns // 1_000_000 or None,
        "session_id": session,
        "agent_id": agent_id(record.origin.resource),
        "metadata": metadata(sent, record.origin, trace_id=record.trace_id, span_id=record.span_id),
    }
    said = text(record.body) if record.body not in (None, "") else None
    if record.severity >= ERROR:
        event |= {
            "error_type": "system_error",
            "message": said or text(sent.get("exception.message") or name or "error"),
            "severity": "critical" if record.severity >= FATAL else "error",
            "stack_trace": sent.get("exception.stacktrace"),
        }
        kind: type[Event] = ErrorEvent
    else:
        if said is not None:
            event["metadata"]["message"] = said[:4096]
        event |= {
            "name": text(name) if name else "log.warning",
            "severity": "warning" if record.severity >= WARNING else None,
        }
        kind = CustomEvent
    yield kind, {n: v for n, v in event.items() if v is not None}
