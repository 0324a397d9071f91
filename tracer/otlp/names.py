"""Which attribute says what: all generations of the GenAI conventions, and names seen in the wild.

Newest first; the first one that is there counts. To read one more name, add it here.
"""

from typing import Final

CALL: Final[dict[str, tuple[str, ...]]] = {
    "operation": ("gen_ai.operation.name",),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "openclaw.provider", "llm.vendor"),
    "model": ("gen_ai.request.model", "openclaw.model", "llm.request.model"),
    "response_model": ("gen_ai.response.model", "llm.response.model"),
    "prompt_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.usage.prompt_tokens",
    ),
    "completion_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
        "openclaw.model_call.usage.output",
        "openclaw.model_call.usage.output_tokens",
        "openclaw.tokens.output",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "openclaw.model_call.usage.total",
        "openclaw.tokens.total",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.input_tokens.cached",
        "openclaw.model_call.usage.cache_read",
        "openclaw.tokens.cache_read",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.input_tokens.cache_write",
        "openclaw.model_call.usage.cache_write",
        "openclaw.tokens.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.output_tokens.reasoning",
        "gen_ai.usage.reasoning_tokens",
    ),
    "cost_usd": ("gen_ai.usage.cost", "operation.cost", "openclaw.cost.usd"),
    "error_type": ("error.type", "openclaw.errorCategory"),
    "finish_reason": ("gen_ai.response.finish_reasons", "llm.finish_reason"),
    "prompt_version": ("gen_ai.prompt.version",),
    "input_text": ("gen_ai.input.messages", "gen_ai.prompt"),
    "output_text": ("gen_ai.output.messages", "gen_ai.completion"),
}
"""Column → attributes."""

UNCACHED_INPUT: Final = (
    "openclaw.model_call.usage.input",
    "openclaw.model_call.usage.input_tokens",
    "openclaw.tokens.input",
)
"""Input without what came from, or went into, the cache."""

SESSION: Final = ("gen_ai.conversation.id", "session.id", "langfuse.session.id")

TTFT_S: Final = ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
TTFT_MS: Final = ("openclaw.model_call.time_to_first_byte_ms",)

COST_AMOUNT: Final = "gen_ai.usage.cost.amount"
COST_CURRENCY: Final = "gen_ai.usage.cost.currency"

PROVIDERS: Final = {
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "xai": "x_ai",
}
"""Values of `gen_ai.system` that were renamed."""

INFERENCE: Final = frozenset(
    {"chat", "text_completion", "generate_content", "embeddings", "completion"}
)
"""Operations that are one call. Agents, tools, workflows and memory wrap calls or are none."""

MODEL_CALL: Final = "openclaw.model.call"
MODEL_USAGE: Final = "openclaw.model.usage"
