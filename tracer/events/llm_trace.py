"""One call of a language model."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer import usage
from tracer.errors import EventError
from tracer.events.base import Event
from tracer.fields import Amount, Choice, Count, Text
from tracer.pricing import Prices

WRAPPERS: Final = frozenset(
    {"invoke_agent", "create_agent", "invoke_workflow", "execute_tool", "plan", "retrieval"}
    | {"agent_step", "fetch_response"}
)
"""Operations that repeat the tokens of the calls inside them: pricing both would count twice."""

LONGEST_USAGE_BYTES: Final = 16384
"""A provider's usage object is a few hundred bytes; a larger one is none."""


class LlmTrace(Event):
    """One call of a language model, as far as the agent knows it.

    The aliases are the names of OpenTelemetry's GenAI conventions, newest generation first.
    """

    type_name = "llm_trace"
    route = "/v1/traces"
    list_route = "/v1/traces"
    filters = ("session_id", "status", "model", "provider")

    provider = Text(
        "who served the call",
        required=True,
        aliases=("gen_ai.provider.name", "gen_ai.system"),
        example="anthropic",
    )
    model = Text(
        "the model asked for",
        required=True,
        aliases=("gen_ai.request.model",),
        example="claude-sonnet-4-5",
    )
    operation = Text("kind of call", default="chat", aliases=("gen_ai.operation.name",))
    response_model = Text("the model that answered", aliases=("gen_ai.response.model",))
    input_text = Text("the prompt", long=True, aliases=("gen_ai.prompt",))
    output_text = Text("the answer", long=True, aliases=("gen_ai.completion",))
    prompt_tokens = Count(
        "tokens in, cached ones included",
        aliases=("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        example=1234,
    )
    completion_tokens = Count(
        "tokens out, reasoning included",
        aliases=("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        example=56,
    )
    total_tokens = Count("default: the sum of the two", aliases=("gen_ai.usage.total_tokens",))
    cache_read_tokens = Count(
        "tokens in that came from the cache",
        aliases=("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    )
    cache_write_tokens = Count(
        "tokens in that were written to the cache",
        aliases=(
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
    )
    reasoning_tokens = Count(
        "tokens out spent on reasoning",
        aliases=("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    )
    cost_usd = Amount("price of the call in US dollars; default: from the price table")
    latency_ms = Amount("from request to last byte", example=2372)
    ttft_ms = Amount(
        "from request to first byte", aliases_in_s=("gen_ai.response.time_to_first_chunk",)
    )
    status = Choice(
        "outcome",
        ("success", "error", "timeout", "rate_limited"),
        {"ok": "success"},
        default="success",
    )
    error_type = Text("what went wrong", aliases=("error.type",))
    finish_reason = Text(
        "why the model stopped; several are joined by commas",
        joins=True,
        aliases=("gen_ai.response.finish_reasons", "llm.finish_reason"),
    )
    session_id = Text("the conversation", aliases=("gen_ai.conversation.id", "session.id"))
    run_id = Text("the agent's run")
    prompt_version = Text("version of the prompt", aliases=("gen_ai.prompt.version",))
    parent_span_id = Text("OpenTelemetry parent span")
    cost_source = Text("`agent`, or `computed` from the price table", computed=True)
    price_version = Text("version of the price table used", computed=True)

    class Meta:
        table_name = "llm_traces"

    @classmethod
    def complete(cls, event: Any, unknown: dict[str, Raw], prices: Prices) -> tuple[Any, ...]:
        tokens = _tokens(event, _reported(cls, event, unknown))
        total = tokens.total
        if total is None and (tokens.prompt is not None or tokens.completion is not None):
            total = (tokens.prompt or 0) + (tokens.completion or 0)
        event.prompt_tokens, event.completion_tokens = tokens.prompt, tokens.completion
        event.cache_read_tokens, event.cache_write_tokens = tokens.cache_read, tokens.cache_write
        event.reasoning_tokens, event.total_tokens = tokens.reasoning, total
        if event.operation in WRAPPERS:
            return (None if event.cost_usd is None else "agent", None)
        models = (event.response_model, event.model)
        event.cost_usd, *computed = prices.charge(
            event.provider, models, tokens, event.created_at, event.cost_usd
        )
        return tuple(computed)


def _tokens(event: Any, reported: usage.Tokens | None) -> usage.Tokens:
    """What our own fields say, completed by a usage in the provider's words."""
    sent = usage.Tokens(
        event.prompt_tokens,
        event.completion_tokens,
        event.cache_read_tokens,
        event.cache_write_tokens,
        event.reasoning_tokens,
        event.total_tokens,
    )
    if reported is None:
        return sent
    pairs = zip(sent, reported, strict=True)
    return usage.Tokens._make(own if own is not None else other for own, other in pairs)


def _reported(kind: type[Event], event: Any, unknown: dict[str, Raw]) -> usage.Tokens | None:
    """The usage as the provider worded it: beside our fields, as an object, or in the metadata."""
    if unknown:
        if found := usage.FLAT_NAMES.intersection(unknown):
            return usage.read(_flat(kind, event, {name: unknown[name] for name in found}))
        for name in usage.NAMES:
            if name in unknown:
                return _read_usage(unknown[name])
    metadata = bytes(event.metadata)
    if b"usage" in metadata and event.prompt_tokens is None and event.completion_tokens is None:
        try:
            if metadata[:1] == b'"':
                metadata = msgspec.json.decode(metadata, type=str).encode()
            members = msgspec.json.decode(metadata, type=dict[str, Raw])
        except msgspec.DecodeError:
            return None  # said by whoever reads the metadata for good
        for name in usage.NAMES:
            if name in members:
                return _read_usage(members[name])
    return None


def _read_usage(raw: Raw) -> usage.Tokens | None:
    text = bytes(raw)
    value = msgspec.json.decode(text) if len(text) <= LONGEST_USAGE_BYTES else None
    return usage.read(value) if isinstance(value, dict) else None


def _flat(kind: type[Event], event: Any, members: dict[str, Raw]) -> dict[str, Any]:
    """The provider's names among our own fields. Raises EventError for a count that is none."""
    count = kind._meta.fields["prompt_tokens"]
    own = {
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "total_tokens": event.total_tokens,
    }
    values = {name: value for name, value in own.items() if value is not None}
    for name, raw in members.items():
        text = bytes(raw)
        if text[:1] == b"{":
            values[name] = msgspec.json.decode(text) if len(text) <= LONGEST_USAGE_BYTES else {}
        elif text != b"null":
            try:
                values[name] = count.read(text)
            except EventError as error:
                raise EventError(error.reason, f"{name}: {error}", name) from None
    return values
