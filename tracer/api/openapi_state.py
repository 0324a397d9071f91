"""The part of the OpenAPI description that is about the sidecar itself."""

from typing import Any, Final

from tracer import heap
from tracer.api.body import JSON
from tracer.api.debug import (
    BINARY,
    DEFAULT_LIMIT,
    DEFAULT_S,
    HEAP_ACTIONS,
    HEAP_FORMS,
    LONGEST_S,
    MAX_LIMIT,
    PROFILE_FORMS,
)

_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = "text/plain"
_FORBIDDEN: Final = {"403": "from a web page, or under a host name that is not ours"}
_REFUSALS: Final = {"401": "not from this machine, and no token"} | _FORBIDDEN
_REFUSED_PARAMETERS: Final = {"400": "a parameter is unknown, cannot be read or is out of range"}

_HEALTH: Final = {
    "type": "object",
    "required": ["status", "uptime_seconds"],
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "uptime_seconds": {"type": "number"},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "events": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("received", "accepted", "stored", "queued"), _COUNT),
                **{
                    name: {"type": "object", "additionalProperties": _COUNT}
                    for name in ("rejected", "lost")
                },
            },
        },
    },
}


def schemas() -> dict[str, Any]:
    """What the answers hold."""
    return {"Health": _HEALTH}


def paths() -> dict[str, dict[str, Any]]:
    """Path → what GET does there."""
    text: dict[str, Any] = {_TEXT: {"schema": {"type": "string"}}}
    binary: dict[str, Any] = {BINARY: {"schema": {}}}
    members: dict[str, Any] = {JSON: {"schema": {"type": "object"}}}
    return {
        "/health": _health(),
        "/openapi.json": _operation("openapi", "This description.", {"200": members}),
        "/metrics": _operation(
            "metrics",
            "The state and the counters as Prometheus reads them.",
            {"200": text | {"application/openmetrics-text": {"schema": {"type": "string"}}}},
        ),
        "/debug/vars": _operation(
            "debug_vars", "Counters, settings, interpreter, as expvar does.", {"200": members}
        ),
        "/debug/pprof/threads": _operation(
            "debug_threads", "What each thread does at this moment.", {"200": text}
        ),
        "/debug/pprof/profile": _operation(
            "debug_profile",
            "CPU of all threads, recorded while the caller waits; 409 while another records.",
            {"200": binary | text, "409": _ERROR},
            _parameter("seconds", _number(DEFAULT_S, 1, LONGEST_S)),
            _parameter("format", _words(PROFILE_FORMS)),
        ),
        "/debug/pprof/heap": _operation(
            "debug_heap",
            "What is allocated, once tracing was started; 409 before.",
            {"200": text | members | binary, "409": _ERROR},
            _parameter("action", _words(HEAP_ACTIONS)),
            _parameter("format", _words(HEAP_FORMS)),
            _parameter("frames", _number(1, 1, heap.MAX_DEPTH)),
            _parameter("limit", _number(DEFAULT_LIMIT, 1, MAX_LIMIT)),
        ),
    }


_ERROR: Final = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}


def _health() -> dict[str, Any]:
    report = {JSON: {"schema": {"$ref": "#/components/schemas/Health"}}}
    return _operation(
        "health",
        "The state of the sidecar and its ledger; 503 when degraded. To strangers only status and "
        "uptime.",
        {"200": report, "503": report},
        refusals=_FORBIDDEN,
    )


def _operation(
    name: str,
    summary: str,
    answers: dict[str, dict[str, Any]],
    *parameters: dict[str, Any],
    refusals: dict[str, str] = _REFUSALS,
) -> dict[str, Any]:
    """`answers`: status → content by media type."""
    refused = (_REFUSED_PARAMETERS if parameters else {}) | refusals
    return {
        "operationId": name,
        "summary": summary,
        **({"parameters": list(parameters)} if parameters else {}),
        "responses": {
            status: {"description": summary, "content": content}
            for status, content in answers.items()
        }
        | {status: {"description": what, "content": _ERROR} for status, what in refused.items()},
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _number(default: int, least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _words(words: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "string", "enum": list(words), "default": words[0]}
