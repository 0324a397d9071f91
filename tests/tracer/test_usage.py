import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import ANY_JSON
from tracer.usage import Tokens, read

SHAPES = {
    "Anthropic counts cached tokens beside its input": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 4000,
            "cache_creation_input_tokens": 300,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 100,
                "ephemeral_1h_input_tokens": 200,
            },
        },
        Tokens(4310, 5, 4000, 300, None, None, 200),
    ),
    "Anthropic without a cache": (
        {"input_tokens": 10, "output_tokens": 5},
        Tokens(10, 5),
    ),
    "Bedrock counts like Anthropic": (
        {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, "cacheReadInputTokens": 90},
        Tokens(100, 5, 90),
    ),
    "OpenAI says what part of the prompt was cached": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 128},
        },
        Tokens(2006, 300, 1920, None, 128, 2306),
    ),
    "OpenAI's Responses use other names for the same": (
        {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 60},
            "total_tokens": 123,
        },
        Tokens(36, 87, 30, None, 60, 123),
    ),
    "xAI counts reasoning beside the completion, as its total shows": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 200,
            "completion_tokens_details": {"reasoning_tokens": 80},
        },
        Tokens(100, 100, None, None, 80, 200),
    ),
    "DeepSeek names hits and misses": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
        Tokens(100, 1, 64),
    ),
    "LiteLLM puts Anthropic's names beside an inclusive prompt": (
        {"prompt_tokens": 4310, "completion_tokens": 5, "cache_read_input_tokens": 4000},
        Tokens(4310, 5, 4000),
    ),
    "Google counts thoughts beside the candidates": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "cachedContentTokenCount": 60,
            "totalTokenCount": 150,
        },
        Tokens(100, 50, 60, None, 30, 150),
    ),
    "Google's library for Python spells it so": (
        {
            "prompt_token_count": 100,
            "candidates_token_count": 20,
            "thoughts_token_count": 30,
            "cached_content_token_count": 60,
            "total_token_count": 150,
        },
        Tokens(100, 50, 60, None, 30, 150),
    ),
    "Moonshot has no details": (
        {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cached_tokens": 64},
        Tokens(100, 5, 64, None, None, 105),
    ),
    "Vercel's AI SDK includes cached tokens, unlike Bedrock": (
        {"inputTokens": 100, "outputTokens": 5, "totalTokens": 105, "cachedInputTokens": 80},
        Tokens(100, 5, 80, None, None, 105),
    ),
    "LangChain has details of its own": (
        {
            "input_tokens": 115,
            "output_tokens": 7,
            "total_tokens": 122,
            "input_token_details": {"cache_read": 100, "cache_creation": 5},
        },
        Tokens(115, 7, 100, 5, None, 122),
    ),
    "OpenClaw counts like Anthropic": (
        {"input": 10, "output": 5, "cacheRead": 80, "cacheWrite": 10, "total": 105},
        Tokens(100, 5, 80, 10),
    ),
}


@pytest.mark.parametrize(("usage", "tokens"), SHAPES.values(), ids=SHAPES)
def test_shape_is_brought_to_our_form(usage, tokens):
    assert read(usage) == tokens


@pytest.mark.parametrize("usage", [{}, {"tokens": 5}, {"cache_read_input_tokens": 5}])
def test_what_is_no_usage_gives_none(usage):
    assert read(usage) is None


def test_odd_values_count_as_unknown():
    usage = {"prompt_tokens": -5, "completion_tokens": "7", "prompt_tokens_details": "odd"}
    assert read(usage) == Tokens()


NAMES = sorted({name for usage, _ in SHAPES.values() for name in usage})


@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON | st.integers(0, 10**6)))
def test_any_object_gives_counts_from_zero_or_nothing(usage):
    tokens = read(usage)
    assert tokens is None or all(n is None or (type(n) is int and n >= 0) for n in tokens)
