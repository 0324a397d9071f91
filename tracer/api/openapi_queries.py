"""The part of the OpenAPI description that is about reading, made from the same declarations."""

from typing import Any, Final

from tracer.api.body import JSON
from tracer.api.query import DEFAULT_LIMIT
from tracer.events import KINDS, Event
from tracer.fields import Amount, Choice, Count, Json, Timestamp, WireField
from tracer.reading import MAX_LIMIT
from tracer.statistics import COST_BY, ERRORS_BY, LATENCY_BY

_COUNT: Final = {"type": "integer", "minimum": 0}
_SUM: Final = {"type": ["number", "null"], "minimum": 0}
_REFUSALS: Final = {
    "400": "a parameter is unknown, cannot be read or is out of range",
    "401": "not from this machine, and no token",
    "403": "from a web page, or under a host name that is not ours",
    "503": "the database cannot be read, or not in time: the sentence says why",
}


def list_paths() -> dict[str, dict[str, Any]]:
    """Route → operation."""
    return {kind.list_route: _list(kind) for kind in KINDS}


def statistics_paths() -> dict[str, dict[str, Any]]:
    """Route → operation."""
    return {
        f"/v1/stats/{name}": _operation(
            f"stats_{name}",
            summary,
            [_by(choices), *_bounds()],
            f"{name}_statistics",
        )
        for name, choices, summary in (
            ("cost", COST_BY, "Calls, tokens and cost, the dearest first."),
            ("latency", LATENCY_BY, "Exact percentiles, the most used first."),
            ("errors", tuple(ERRORS_BY), "Errors and failed calls, the most frequent first."),
        )
    }


def schemas() -> dict[str, Any]:
    """What the answers hold."""
    times = _object(dict.fromkeys(("p50", "p95", "p99", "max"), _SUM))
    costs = {
        "calls": _COUNT,
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "total_tokens": _COUNT,
        "cost_usd": _SUM,
        "calls_without_cost": _COUNT,
    }
    return {f"{kind.type_name}_page": _page(kind) for kind in KINDS} | {
        "cost_statistics": _answer(COST_BY, costs, costs | {"projected_month_usd": _SUM}),
        "latency_statistics": _answer(
            LATENCY_BY, {"calls": _COUNT, "latency_ms": times, "ttft_ms": times}, None
        ),
        "errors_statistics": _answer(tuple(ERRORS_BY), {"count": _COUNT}, {"count": _COUNT}),
    }


def _answer(
    choices: tuple[str, ...], values: dict[str, Any], total: dict[str, Any] | None
) -> dict[str, Any]:
    keys = {name: {"type": ["string", "null"]} for name in choices}
    item = _object(values) | {"properties": keys | values}
    members = {"items": {"type": "array", "items": item}}
    return _object(members if total is None else members | {"total": _object(total)})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _page(kind: type[Event]) -> dict[str, Any]:
    columns = {name: _column(kind._meta.fields[name]) for name in kind.listed_columns()}
    return _object(
        {
            "items": {"type": "array", "items": _object(columns), "maxItems": MAX_LIMIT},
            "next_cursor": {"type": ["string", "null"]},
        }
    )


def _column(field: WireField) -> dict[str, Any]:
    match field:
        case Count() | Timestamp():
            types = ["integer"]
        case Amount():
            types = ["number"]
        case Json():
            types = ["object", "string"]  # a string is what somebody else broke
        case _:
            types = ["string"]
    return {"type": [*types, "null"] if field.null else types, "description": field.help_text}


def _list(kind: type[Event]) -> dict[str, Any]:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    parameters = [
        *_bounds(),
        _parameter("limit", "most rows in the answer", limit),
        _parameter(
            "cursor",
            "`next_cursor` of the page before",
            {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,18}$"},
        ),
        *(_filter(kind._meta.fields[name]) for name in kind.filters),
    ]
    summary = f"{(kind.__doc__ or '').partition('.')[0]}: what is stored, newest first."
    return _operation(f"list_{kind.type_name}", summary, parameters, f"{kind.type_name}_page")


def _filter(field: WireField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if isinstance(field, Choice):
        schema = {"type": "string", "enum": [*field.words, *field.synonyms]}
    return _parameter(field.name, f"only those with this: {field.help_text}", schema)


def _by(choices: tuple[str, ...]) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(choices), "default": choices[0]}
    return _parameter("by", "what to group by", schema)


def _bounds() -> list[dict[str, Any]]:
    forms = [
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": 0, "maximum": 4_000_000_000_000},
        {"type": "string", "pattern": "^[0-9]{1,6}(ms|s|m|h|d)$"},
    ]
    what = "`created_at`: ISO 8601, epoch seconds or milliseconds, or a duration ago such as `7d`"
    return [
        _parameter("since", f"least {what}", {"anyOf": forms}),
        _parameter("until", f"end, itself left out, of {what}", {"anyOf": forms}),
    ]


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _operation(
    name: str, summary: str, parameters: list[dict[str, Any]], schema: str
) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    answer = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": {"description": "found", "content": answer}}
        | {status: {"description": what, "content": error} for status, what in _REFUSALS.items()},
    }
