"""One call of a language model."""

from typing import Any

from tracer.events.base import Event
from tracer.fields import Amount, Choice, Count, Text


class LlmTrace(Event):
    """One call of a language model, as far as the agent knows it.

    The aliases are the names of OpenTelemetry's GenAI conventions, newest generation first.
    """

    type_name = "llm_trace"
    route = "/v1/traces"

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
        aliases=("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "input_tokens"),
        example=1234,
    )
    completion_tokens = Count(
        "tokens out, reasoning included",
        aliases=("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "output_tokens"),
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
    cost_usd = Amount("price of the call in US dollars, where the agent knows it")
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
    def complete(cls, event: Any) -> dict[str, str]:
        parts = (event.prompt_tokens, event.completion_tokens)
        if event.total_tokens is None and parts != (None, None):
            event.total_tokens = sum(part or 0 for part in parts)
        return {}

    @classmethod
    def computed_values(cls, event: Any) -> tuple[Any, ...]:
        return (None if event.cost_usd is None else "agent", None)
