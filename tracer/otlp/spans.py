"""Spans to events: calls of a model, errors, and everything else that has a name."""

from collections.abc import Iterator
from typing import Any

from tracer.events import CustomEvent, ErrorEvent, Event, LlmTrace
from tracer.otlp import names
from tracer.otlp.attributes import agent_id, content_id, metadata, text
from tracer.otlp.items import Attributes, Span

ERROR = 2
Found = tuple[type[Event], dict[str, Any]]


def is_openclaw_call(span: Span) -> bool:
    """One request, or one turn of a harness that does not tell its requests, under any name."""
    return span.name == names.MODEL_CALL or "openclaw.model_call.observation_unit" in (
        span.attributes
    )


def has_tokens(span: Span) -> bool:
    """Whether the span says what was used."""
    told = ("prompt_tokens", "completion_tokens", "total_tokens")
    wanted = (*(n for column in told for n in names.CALL[column]), *names.UNCACHED_INPUT)
    return any(span.attributes.get(name) for name in wanted)


def is_inference(span: Span) -> bool:
    """Whether the span is one call of a model, and nothing around it."""
    if is_openclaw_call(span) or span.name == names.MODEL_USAGE:
        return True
    if span.name.startswith("openclaw."):
        return False  # runs and the like name the model, too
    operation = span.attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in names.INFERENCE
    has_model = _first(span.attributes, names.CALL["model"] + names.CALL["response_model"])
    return has_model is not None and (
        has_tokens(span) or _first(span.attributes, names.CALL["provider"]) is not None
    )


def translate(span: Span, *, is_repeated: bool) -> Iterator[Found]:
    """One event, and an error besides for a span that failed.

    `is_repeated`: its tokens were told by other spans; it is kept, and not as a call.
    """
    call: dict[str, Any] = {}
    if is_inference(span) and not is_repeated:
        call = _call(span)
        yield LlmTrace, _without_none(call)
    else:
        yield CustomEvent, _without_none(_other(span))
    if span.status == ERROR:
        yield ErrorEvent, _without_none(_error(span, call))


def _identity(span: Span) -> dict[str, Any]:
    """The pair of ids; without them, the content."""
    if span.trace_id and span.span_id:
        return {"trace_id": span.trace_id, "span_id": span.span_id}
    unnamed = span._replace(origin=span.origin._replace(resource={}))
    return {"trace_id": content_id(span.origin.resource, unnamed)}


def _call(span: Span) -> dict[str, Any]:
    sent = dict(span.attributes)
    call: dict[str, Any] = {column: _take(sent, wanted) for column, wanted in names.CALL.items()}
    call["session_id"] = _take(sent, names.SESSION)
    _complete_tokens(call, sent)
    _complete_cost(call, sent)
    _complete_content(call, sent, span)
    system = call["provider"]
    call["provider"] = names.PROVIDERS.get(str(system), system) or "unknown"
    call["model"] = call["model"] or call["response_model"] or "unknown"
    if isinstance(call["finish_reason"], list):
        call["finish_reason"] = ",".join(map(str, call["finish_reason"]))
    ttft_s = _take(sent, names.TTFT_S)
    ttft_ms = _take(sent, names.TTFT_MS)
    call["ttft_ms"] = ttft_s * 1000 if isinstance(ttft_s, int | float) else ttft_ms
    duration_ms = _duration_ms(span)
    unit = sent.get("openclaw.model_call.observation_unit")
    if span.name == names.MODEL_USAGE or unit == "turn":
        sent["turn_duration_ms"] = duration_ms  # not that of a request
    else:
        call["latency_ms"] = duration_ms
    call["status"] = _status(span, call["error_type"])
    call |= _identity(span)
    call["parent_span_id"] = span.parent_span_id or None
    call["timestamp"] = _ms(span.start_ns)
    call["agent_id"] = agent_id(span.origin.resource)
    call["metadata"] = metadata(sent, span.origin, name=span.name, events=_events(span))
    return call


def _complete_tokens(call: dict[str, Any], sent: dict[str, Any]) -> None:
    uncached = _take(sent, names.UNCACHED_INPUT)
    if call["prompt_tokens"] is None and isinstance(uncached, int):
        cached = (call["cache_read_tokens"], call["cache_write_tokens"])
        call["prompt_tokens"] = uncached + sum(n for n in cached if isinstance(n, int))


def _complete_cost(call: dict[str, Any], sent: dict[str, Any]) -> None:
    if call["cost_usd"] is None and sent.get(names.COST_CURRENCY, "USD") == "USD":
        call["cost_usd"] = sent.pop(names.COST_AMOUNT, None)
    if not isinstance(call["cost_usd"], int | float):
        call["cost_usd"] = None


def _complete_content(call: dict[str, Any], sent: dict[str, Any], span: Span) -> None:
    """Prompt and answer, where they are sent at all: attributes, or events of the span."""
    asked, answered = [call["input_text"]], [call["output_text"]]
    for event in span.events:
        body = event.attributes
        if event.name in ("gen_ai.content.prompt", "gen_ai.content.completion"):
            asked.append(body.get("gen_ai.prompt"))
            answered.append(body.get("gen_ai.completion"))
        elif event.name == "gen_ai.choice":
            answered.append(body.get("message") or body.get("content"))
        elif event.name.startswith("gen_ai.") and event.name.endswith(".message"):
            asked.append(body.get("content"))
    for name in [
        name for name in sent if name.startswith(("gen_ai.prompt.", "gen_ai.completion."))
    ]:
        if name.endswith(".content"):
            (asked if name.startswith("gen_ai.prompt.") else answered).append(sent.pop(name))
    call["input_text"] = "\n".join(text(part) for part in asked if part is not None) or None
    call["output_text"] = "\n".join(text(part) for part in answered if part is not None) or None


def _other(span: Span) -> dict[str, Any]:
    return {
        **_identity(span),
        "name": span.name or "span",
        "timestamp": _ms(span.start_ns),
        "duration_ms": _duration_ms(span),
        "session_id": _first(span.attributes, names.SESSION),
        "severity": "error" if span.status == ERROR else None,
        "agent_id": agent_id(span.origin.resource),
        "metadata": metadata(
            span.attributes,
            span.origin,
            parent_span_id=span.parent_span_id,
            kind=span.kind,
            status_message=span.status_message,
            events=_events(span),
        ),
    }


def _error(span: Span, call: dict[str, Any]) -> dict[str, Any]:
    thrown: Attributes = next((e.attributes for e in span.events if e.name == "exception"), {})
    error_type = _first(span.attributes, names.CALL["error_type"])
    kind = error_type or thrown.get("exception.type")
    said = span.status_message or thrown.get("exception.message") or kind or "failed"
    return {
        **_identity(span),
        "error_type": "llm_error" if call else "system_error",
        "message": text(said) if call else f"{span.name}: {text(said)}",
        "stack_trace": thrown.get("exception.stacktrace"),
        "severity": "warning" if span.name.endswith(".warning") else "error",
        "timestamp": _ms(span.end_ns or span.start_ns),
        "provider": call.get("provider"),
        "model": call.get("model"),
        "session_id": _first(span.attributes, names.SESSION),
        "agent_id": agent_id(span.origin.resource),
        "metadata": metadata({"error.type": kind} if kind else {}, span.origin, name=span.name),
    }


def _status(span: Span, error_type: Any) -> str:
    if span.status != ERROR and error_type is None:
        return "success"
    said = f"{error_type} {span.status_message}".lower().replace("_", "")
    if "ratelimit" in said or "rate limit" in said or "429" in said:
        return "rate_limited"
    return "timeout" if "timeout" in said or "timed out" in said else "error"


def _events(span: Span) -> list[dict[str, Any]]:
    """Those without content of their own columns, shortened."""
    return [
        {"name": event.name, "attributes": {n: text(v)[:500] for n, v in event.attributes.items()}}
        for event in span.events[:20]
        if event.name != "exception" and not event.name.startswith("gen_ai.")
    ]


def _first(attributes: Attributes, wanted: tuple[str, ...]) -> Any:
    return next((v for name in wanted if (v := attributes.get(name)) is not None), None)


def _take(sent: dict[str, Any], wanted: tuple[str, ...]) -> Any:
    """Takes out the first that is there; others of the same meaning stay in the metadata."""
    for name in wanted:
        if sent.get(name) is not None:
            return sent.pop(name)
    return None


def _duration_ms(span: Span) -> float | None:
    if not span.start_ns or span.end_ns < span.start_ns:
        return None
    return (span.end_ns - span.start_ns) / 1_000_000


def _ms(moment_ns: int) -> int | None:
    return moment_ns // 1_000_000 or None


def _without_none(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if value is not None}
