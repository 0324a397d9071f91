"""Token usage of a call in the providers' own words, brought to one form. Pure.

`prompt_tokens` includes cached tokens (OpenTelemetry's rule). OpenAI and Google say it so,
Anthropic and Bedrock count cached tokens beside their input. The names of the members tell which of
them speaks; the provider's name does not, since gateways translate.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

NAMES: Final = ("usage", "raw_usage", "usageMetadata", "usage_metadata")
"""Where a report may hold such an object."""


_CAPITAL = re.compile("[A-Z]")


class Tokens(NamedTuple):
    """None is unknown. `cache_read` and `cache_write` are parts of `prompt`, `cache_write_1h` of
    `cache_write`, `reasoning` of `completion`.
    """

    prompt: int | None = None
    completion: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    total: int | None = None
    cache_write_1h: int | None = None


_ADDITIVE: Final = (
    # input, output, cache read, cache write; the last two beside the input, not in it
    ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),  # Bedrock
    ("input", "output", "cacheRead", "cacheWrite"),  # OpenClaw
)

FLAT_NAMES: Final = frozenset(
    {name for names in _ADDITIVE[:2] for name in names}
    | {"cache_creation", "prompt_tokens_details", "completion_tokens_details"}
    | {"input_tokens_details", "output_tokens_details", "totalTokens"}
)
"""Members that mean usage also outside of such an object, beside our own names."""


def read(usage: Mapping[str, Any]) -> Tokens | None:
    """The usage in our form, or None when it is none that we know. Odd values count as unknown."""
    for names in _ADDITIVE:
        if (names[0] in usage or names[1] in usage) and not usage.keys().isdisjoint(names[2:]):
            return _additive(usage, *names)
    if "promptTokenCount" in usage or "prompt_token_count" in usage:
        return _google(usage)
    if not usage.keys().isdisjoint(("prompt_tokens", "completion_tokens")):
        return _openai(usage, "prompt_tokens", "completion_tokens")
    if not usage.keys().isdisjoint(("input_tokens", "output_tokens")):  # OpenAI's newer names
        return _openai(usage, "input_tokens", "output_tokens")
    if "cachedInputTokens" in usage:
        return _vercel(usage)
    if not usage.keys().isdisjoint(("inputTokens", "outputTokens")):
        return _additive(usage, *_ADDITIVE[1])
    return None


def _additive(usage: Mapping[str, Any], *names: str) -> Tokens:
    uncached, completion, cache_read, cache_write = (_count(usage.get(name)) for name in names)
    created = _object(usage.get("cache_creation"))
    write_1h = _count(created.get("ephemeral_1h_input_tokens"))
    if cache_write is None and created:
        cache_write = _sum(_count(created.get("ephemeral_5m_input_tokens")), write_1h)
    return Tokens(
        prompt=_sum(uncached, cache_read, cache_write),
        completion=completion,
        cache_read=cache_read,
        cache_write=cache_write,
        cache_write_1h=write_1h,
    )


def _openai(usage: Mapping[str, Any], prompt_name: str, completion_name: str) -> Tokens:
    prompt, completion = _count(usage.get(prompt_name)), _count(usage.get(completion_name))
    details = _object(usage.get(f"{prompt_name}_details"))
    reasoning = _count(
        _object(usage.get(f"{completion_name}_details")).get("reasoning_tokens")
        or usage.get("reasoning_tokens")
    )
    total = _count(usage.get("total_tokens"))
    if prompt and completion and reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it beside the completion
    return Tokens(
        prompt=prompt,
        completion=completion,
        cache_read=_first(
            details.get("cached_tokens"),
            usage.get("cache_read_input_tokens"),  # LiteLLM
            usage.get("prompt_cache_hit_tokens"),  # DeepSeek
            usage.get("cached_tokens"),  # Moonshot
            _object(usage.get("input_token_details")).get("cache_read"),  # LangChain
        ),
        cache_write=_first(
            details.get("cache_write_tokens"),
            usage.get("cache_creation_input_tokens"),
            _object(usage.get("input_token_details")).get("cache_creation"),
        ),
        reasoning=reasoning,
        total=total,
    )


def _google(usage: Mapping[str, Any]) -> Tokens:
    """As on the wire, or with the names that Google's library for Python gives them."""

    def count(name: str) -> int | None:
        return _first(usage.get(name), usage.get(_CAPITAL.sub(r"_\g<0>", name).lower()))

    reasoning = count("thoughtsTokenCount")
    return Tokens(
        prompt=_sum(count("promptTokenCount"), count("toolUsePromptTokenCount")),
        completion=_sum(count("candidatesTokenCount"), reasoning),
        cache_read=count("cachedContentTokenCount"),
        reasoning=reasoning,
        total=count("totalTokenCount"),
    )


def _vercel(usage: Mapping[str, Any]) -> Tokens:
    """Vercel's AI SDK, of which cached tokens are a part of the input."""
    return Tokens(
        prompt=_count(usage.get("inputTokens")),
        completion=_count(usage.get("outputTokens")),
        cache_read=_count(usage.get("cachedInputTokens")),
        reasoning=_count(usage.get("reasoningTokens")),
        total=_count(usage.get("totalTokens")),
    )


def _first(*values: Any) -> int | None:
    return next((count for value in values if (count := _count(value)) is not None), None)


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= 10**12 else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
