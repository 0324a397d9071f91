"""The OpenAPI 3.1 description of what we answer, made from the declarations of the events."""

from collections import defaultdict
from typing import Any, Final

import falcon

from tracer import __version__
from tracer.api import openapi_queries, openapi_state
from tracer.api.body import JSON, NDJSON
from tracer.api.otlp import PROTOBUF
from tracer.events import Event
from tracer.fields import MAX_COUNT, Amount, Choice, Count, Json, Text, Timestamp, WireField
from tracer.otlp import Signal

_NUMERIC_TEXT: Final = {"type": "string", "pattern": r"^[0-9]{1,12}$"}

_TAKEN: Final = {"202": "validated and queued", "200": "with Prefer: wait, committed to disk"}
_REFUSALS: Final = {
    "400": "not one good event",
    "401": "not from this machine, and no token",
    "403": "from a web page, or under a host name that is not ours",
    "413": "too large, or more events than the queue holds",
    "415": "another content type or encoding",
    "429": "no room for the whole batch: send it again after Retry-After",
    "503": "starting, stopping, or the database cannot be written: send it again later",
}


class OpenApi:
    """GET /openapi.json."""

    def __init__(self, kinds: list[type[Event]]) -> None:
        self._kinds = kinds

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.media = describe(self._kinds)


def describe(kinds: list[type[Event]]) -> dict[str, Any]:
    """The document: what a client sends and gets."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openclaw-trace",
            "version": __version__,
            "description": "Observability sidecar for one AI agent on one small machine.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://localhost:9090"}],
        "security": [{}, {"token": []}],
        "paths": _paths(kinds),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {kind.type_name: _event(kind) for kind in kinds}
            | openapi_queries.schemas()
            | openapi_state.schemas()
            | _ANSWERS,
        },
    }


def _paths(kinds: list[type[Event]]) -> dict[str, dict[str, Any]]:
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for kind in kinds:
        paths[str(kind.route)]["post"] = _report(kind)
    for queries in (openapi_queries.list_paths(), openapi_queries.statistics_paths()):
        for route, operation in queries.items():
            paths[route]["get"] = operation
    for signal in (Signal.LOGS, Signal.METRICS):
        paths[f"/v1/{signal.value}"]["post"] = _report_otlp(signal)
    for path, operation in openapi_state.paths().items():
        paths[path]["get"] = operation
    return paths


def _report(kind: type[Event]) -> dict[str, Any]:
    event = {"$ref": f"#/components/schemas/{kind.type_name}"}
    return {
        "operationId": f"report_{kind.type_name}",
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "description": "`wait`: answer once it is committed",
                "schema": {"type": "string", "enum": ["wait"]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {"oneOf": [event, {"type": "array", "items": event, "minItems": 1}]},
                    "example": _example(kind),
                },
                NDJSON: {"schema": {"type": "string", "minLength": 2}},
            },
        },
        "responses": {
            status: _answer(what, "Receipt") for status, what in (_TAKEN | _REFUSALS).items()
        },
    }


def _report_otlp(signal: Signal) -> dict[str, Any]:
    """The bodies are OpenTelemetry's; so are the answers, a refusal is a google.rpc.Status."""
    content = {JSON: {"schema": {"type": "object"}}, PROTOBUF: {"schema": {}}}
    return {
        "operationId": f"report_otlp_{signal.value}",
        "summary": f"OTLP/HTTP: {signal.value}.",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "taken, all or in part", "content": content}}
        | {status: {"description": what, "content": content} for status, what in _REFUSALS.items()},
    }


def _answer(description: str, schema: str) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _event(kind: type[Event]) -> dict[str, Any]:
    fields = kind.wire_fields()
    return {
        "type": "object",
        "description": "Unknown members join `metadata`.",
        "required": [field.wire_name for field in fields if field.required],
        "properties": {field.wire_name: _schema(field) for field in fields},
    }


def _schema(field: WireField) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": field.help_text}
    if field.example is not None:
        schema["examples"] = [field.example]
    if field.default is not None:
        schema["default"] = field.default
    nullable = [] if field.required else [{"type": "null"}]
    return schema | {"anyOf": [*_types(field), *nullable]}


def _types(field: WireField) -> list[dict[str, Any]]:
    match field:
        case Choice():
            return [{"type": "string", "enum": [*field.words, *field.synonyms]}]
        case Count():
            return [{"type": "integer", "minimum": 0, "maximum": MAX_COUNT}, _NUMERIC_TEXT]
        case Amount():
            return [{"type": "number", "minimum": 0, "maximum": MAX_COUNT}, _NUMERIC_TEXT]
        case Timestamp():
            return [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": 0, "maximum": 4_000_000_000_000},
            ]
        case Json():
            return [{"type": "object"}]
        case Text():
            return [{"type": "string", "minLength": 1 if field.required else 0}]
    raise TypeError(f"no schema for {type(field).__name__}")


def _example(kind: type[Event]) -> dict[str, Any]:
    return {f.wire_name: f.example for f in kind.wire_fields() if f.example is not None}


_COUNT: Final = {"type": "integer", "minimum": 0}
_ANSWERS: Final = {
    "Receipt": {
        "type": "object",
        "required": ["accepted", "rejected", "trace_ids", "errors"],
        "properties": {
            "accepted": _COUNT,
            "rejected": _COUNT,
            "trace_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "field", "message"],
                    "properties": {
                        "index": {"type": ["integer", "null"]},
                        "field": {"type": ["string", "null"]},
                        "message": {"type": "string"},
                    },
                },
            },
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
}
