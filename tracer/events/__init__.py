"""What we record: one class per kind of event. To add a kind, add a file and a line here."""

from tracer.events.base import Event
from tracer.events.custom_event import CustomEvent
from tracer.events.error_event import ErrorEvent
from tracer.events.llm_trace import LlmTrace
from tracer.events.process_metric import ProcessMetric
from tracer.events.system_metric import SystemMetric

KINDS: tuple[type[Event], ...] = (LlmTrace, ErrorEvent, CustomEvent, SystemMetric, ProcessMetric)
"""All kinds. The order is that of their tables and of the documentation."""

__all__ = [
    "KINDS",
    "CustomEvent",
    "ErrorEvent",
    "Event",
    "LlmTrace",
    "ProcessMetric",
    "SystemMetric",
]
