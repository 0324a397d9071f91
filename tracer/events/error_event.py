"""Something that went wrong: a failed call, a crash, a fault of the host."""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer import classify
from tracer.events.base import Event
from tracer.fields import Choice, Text
from tracer.pricing import Prices

LONGEST_HINTS_BYTES: Final = 65536
"""Metadata larger than this is not searched for a status code."""

SEVERITIES = ("debug", "info", "warning", "error", "critical")
SEVERITY_SYNONYMS = {"warn": "warning", "err": "error", "fatal": "critical"}


class ErrorEvent(Event):
    """An error. An `error_type` of the agent's own becomes the category of a `system_error`."""

    type_name = "error_event"
    route = "/v1/errors"
    list_route = "/v1/errors"
    filters = ("session_id", "category", "model", "provider", "error_type", "severity")

    error_type = Text(
        "`llm_error`, `crash` or `system_error`; another value is kept as `category`",
        required=True,
        example="llm_error",
    )
    message = Text("what happened", long=True, required=True, example="429 Too Many Requests")
    category = Text(
        "cause; default: derived from type, message and a `status_code` or `exception` sent too",
        example="rate_limit",
    )
    stack_trace = Text("where it happened", long=True)
    severity = Choice("weight", SEVERITIES, SEVERITY_SYNONYMS, default="error")
    alert_level = Text("the agent's own alert level")
    provider = Text("provider of the failed call")
    model = Text("model of the failed call")
    session_id = Text("the conversation")

    class Meta:
        table_name = "error_events"

    @classmethod
    def complete(cls, event: Any, unknown: dict[str, Raw], prices: Prices) -> tuple[Any, ...]:
        if event.error_type not in ("llm_error", "crash", "system_error"):
            if event.category is None:
                event.category = event.error_type
            else:
                unknown["error_type"] = Raw(msgspec.json.encode(event.error_type))
            event.error_type = "system_error"
        if event.category is None:
            status_code, exception = _hints(unknown, event.metadata)
            event.category = classify.category(
                event.error_type, event.message, status_code=status_code, exception=exception
            )
        return ()


_STATUS_NAMES = ("status_code", "http_status", "http.response.status_code", "status", "statusCode")
_EXCEPTION_NAMES = ("exception", "exception.type", "exception_name", "error_name", "errorName")
_CODE_NAMES = ("error_code", "errorCode", "code", "type")


def _hints(unknown: Mapping[str, Raw], metadata: Raw) -> tuple[int | None, str | None]:
    """The status code and the exception's name, where the agent sent them beside our fields."""
    members = dict(unknown)
    text = bytes(metadata)
    if text[:1] == b"{" and len(text) <= LONGEST_HINTS_BYTES:
        with contextlib.suppress(msgspec.DecodeError):  # said by whoever reads it for good
            members = msgspec.json.decode(text, type=dict[str, Raw]) | members
    status = _first(members, _STATUS_NAMES, int | str)
    try:
        status_code = int(status) if status is not None else None
    except ValueError:
        status_code = None
    name = _first(members, (*_EXCEPTION_NAMES, *_CODE_NAMES), str)
    return status_code, name


def _first(members: Mapping[str, Raw], names: tuple[str, ...], wanted: Any) -> Any:
    for name in names:
        if name in members:
            try:
                return msgspec.json.decode(members[name], type=wanted)
            except msgspec.DecodeError:
                continue
    return None
