import datetime
import itertools
import json
import os
from typing import ClassVar

import pytest
from genai_prices import types
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from tests import prices as generator
from tests.support.prices import SHIPPED, shipped_prices
from tracer import price_table
from tracer.pricing import Inconsistent, Prices, cost_usd, price_at
from tracer.quality import Quality
from tracer.usage import Tokens

NOW = 1795311697425
MOMENTS = [  # before and after known changes of prices, in and out of cheaper hours
    datetime.datetime(2025, 2, 1, 12, tzinfo=datetime.UTC),
    datetime.datetime(2026, 9, 1, 2, tzinfo=datetime.UTC),
    datetime.datetime(2026, 11, 22, 22, tzinfo=datetime.UTC),
]
GRID = [
    Tokens(prompt, completion, read, write, reasoning, None, write_1h)
    for prompt, completion, read, write, reasoning, write_1h in [
        (0, 0, 0, 0, 0, 0),
        (1234, 56, 0, 0, 0, 0),
        (1234, 56, 1000, 0, 40, 0),
        (5000, 100, 1000, 3000, 0, 0),
        (5000, 100, 1000, 3000, 0, 2000),
        (300_000, 2000, 250_000, 10_000, 500, 0),
        (2_000_000, 9000, 0, 0, 9000, 0),
    ]
]
TABLE = price_table.read(SHIPPED)


def oracle_usd(model, provider, tokens, moment):
    usage = types.Usage(
        input_tokens=tokens.prompt,
        output_tokens=tokens.completion,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_reasoning_tokens=tokens.reasoning,
    )
    return float(model.calc_price(usage, provider, genai_request_timestamp=moment).total_price)


EXCEPTIONS = {
    (
        "openrouter",
        "~deepseek/deepseek-pro-latest",
    ): "its cached tokens are listed dearer than others",
}


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_cost_is_that_of_the_oracle(provider):
    """Every model of the package, a grid of usages, three moments: equal to 1e-9."""
    shipped = price_table._models.decode(TABLE.providers[provider.id].models)
    differing, unpriced = set(), []
    for model in provider.models:
        if model.id not in shipped:
            unpriced.append(model.id)
            continue
        prices = shipped[model.id].prices
        prices = prices if isinstance(prices, list) else [prices]
        for tokens, moment in itertools.product(GRID, MOMENTS):
            ours = cost_usd(price_at(prices, int(moment.timestamp() * 1000)), tokens)
            if abs(ours - oracle_usd(model, provider, tokens, moment)) > 1e-9:
                differing.add((provider.id, model.id))
    assert differing == {key for key in EXCEPTIONS if key[0] == provider.id}
    # those are priced by the minute, the image or the search, which a call's tokens do not tell
    assert all(generator._prices(m) is None for m in provider.models if m.id in unpriced)
    assert len(unpriced) <= max(1, len(provider.models) / 3), unpriced


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_models_are_found_where_the_oracle_finds_them(provider):
    shipped = price_table._models.decode(TABLE.providers[provider.id].models)
    for model in provider.models:
        theirs = provider.find_model(model.id)  # a few do not answer to their own id
        if theirs is not None and theirs.id in shipped:
            found = price_table.find([TABLE], provider.id, model.id.lower())
            prices = shipped[theirs.id].prices
            assert found[0] == (tuple(prices) if isinstance(prices, list) else (prices,)), model.id


def test_shipped_file_is_what_the_package_says():
    made = generator.table(TABLE.date)
    assert SHIPPED.read_text() == generator.as_text(made), "run `make prices`"


PRICES = [
    price
    for provider in TABLE.providers.values()
    for model in price_table._models.decode(provider.models).values()
    for price in (model.prices if isinstance(model.prices, list) else [model.prices])
]
COUNTS = st.integers(0, 10**7)


@given(st.sampled_from(PRICES), COUNTS, COUNTS, COUNTS, COUNTS)
def test_cost_is_never_negative_and_reading_the_cache_never_dearer(
    price, uncached, read, write, completion
):
    prompt = uncached + read + write
    cost = cost_usd(price, Tokens(prompt, completion, read, write))
    assert cost >= 0
    assert cost <= cost_usd(price, Tokens(prompt, completion, 0, write)) + 1e-9


@pytest.mark.parametrize(
    "tokens",
    [
        Tokens(10, 5, cache_read=4000),
        Tokens(10, 5, cache_read=6, cache_write=5),
        Tokens(10, 5, reasoning=6),
        Tokens(10, 5, cache_write=3, cache_write_1h=4),
    ],
)
def test_parts_larger_than_the_whole_give_no_cost_and_a_warning(tokens):
    quality = Quality()
    prices = Prices(SHIPPED, None, quality)
    with pytest.raises(Inconsistent):
        cost_usd(PRICES[0], tokens)
    cost = prices.charge("anthropic", ["claude-sonnet-4-5"], tokens, NOW, None)
    assert cost == (None, None, None)
    assert quality.counts() == {"tokens_inconsistent": 1}
    assert "anthropic/claude-sonnet-4-5 (1)" in next(quality.warnings())


NAMES = {
    # as agents and gateways spell them → whose price it is
    ("anthropic", "claude-sonnet-4-5-20250929"): ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "anthropic/claude-sonnet-4-5"): ("anthropic", "claude-sonnet-4-5"),
    ("openrouter", "openrouter/anthropic/claude-sonnet-4.5"): (
        "openrouter",
        "anthropic/claude-sonnet-4.5",
    ),
    ("openrouter", "anthropic/claude-sonnet-4-5-20250929"): ("anthropic", "claude-sonnet-4-5"),
    ("amazon-bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"): (
        "aws",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    (
        "aws.bedrock",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ): (
        "aws",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    ("google-vertex", "claude-sonnet-4-5@20250929"): ("anthropic", "claude-sonnet-4-5"),
    ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro"): ("google", "gemini-2.5-pro"),
    ("vertex_ai", "gemini-2.5-pro"): ("google", "gemini-2.5-pro"),
    ("azure.ai.openai", "gpt-5"): ("azure", "gpt-5"),
    ("OpenAI", "GPT-5"): ("openai", "gpt-5"),
    ("openai", "gpt-5-20250807"): ("openai", "gpt-5"),
    ("openai-codex", "gpt-5"): ("openai", "gpt-5"),
    ("litellm", "openai/gpt-5"): ("openai", "gpt-5"),
    ("my-proxy", "gpt-5"): ("openai", "gpt-5"),
    ("x_ai", "grok-4"): ("x-ai", "grok-4"),
    ("moonshot_ai", "kimi-k2-0905-preview"): ("moonshotai", "kimi-k2-0905-preview"),
    ("mistral_ai", "mistral-large-latest"): ("mistral", "mistral-large-latest"),
}


@pytest.mark.parametrize(("sent", "meant"), NAMES.items())
def test_names_of_agents_lead_to_the_model(sent, meant):
    found = price_table.find([TABLE], sent[0].lower(), sent[1].lower())
    assert found is not None
    assert found == price_table.find([TABLE], *meant)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("ollama", "gpt-oss:20b"),
        ("ollama", "deepseek-r1:8b"),
        ("ollama_chat", "gpt-oss-20b"),
        ("litellm", "ollama/gpt-oss-120b"),
        ("openrouter", "deepseek/deepseek-r1:free"),
        ("nobody", "unheard-of"),
        ("nobody", "llama-3.3-70b"),
        ("anthropic", "claude-99"),
        ("openrouter", "/".join("x" * 4000)),
        ("", ""),
    ],
)
def test_model_nobody_knows_has_no_cost_and_is_named(provider, model):
    quality = Quality()
    cost = Prices(SHIPPED, None, quality).charge(provider, [None, model], Tokens(10, 5), NOW, None)
    assert cost == (None, None, None)
    assert quality.counts() == {"unknown_model": 1}


def test_model_that_answered_decides_before_the_one_asked_for():
    tokens = Tokens(10**6, 0)
    charge = shipped_prices().charge
    haiku = charge("anthropic", [None, "claude-3-haiku"], tokens, NOW, None)
    assert charge("anthropic", ["claude-3-haiku", "claude-opus-4-5"], tokens, NOW, None) == haiku
    assert charge("anthropic", ["unheard-of", "claude-3-haiku"], tokens, NOW, None) == haiku


@pytest.mark.parametrize(
    ("sent", "mismatches"),
    [(0.003, {}), (0.0036, {}), (0.004, {"cost_mismatch": 1}), (0, {"cost_mismatch": 1})],
)
def test_cost_of_the_agent_wins_and_a_large_difference_is_counted(sent, mismatches):
    quality = Quality()
    prices = Prices(SHIPPED, None, quality)
    cost = prices.charge("anthropic", ["claude-sonnet-4-5"], Tokens(1000, 0), NOW, sent)
    assert cost == (sent, "agent", None)
    assert quality.counts() == mismatches


def test_call_without_tokens_has_no_cost_and_no_warning():
    quality = Quality()
    cost = Prices(SHIPPED, None, quality).charge("nobody", ["x"], Tokens(), NOW, None)
    assert cost == (None, None, None)
    assert quality.counts() == {}


def test_old_prices_are_warned_about():
    prices = shipped_prices()
    assert list(prices.warnings(TABLE.date + datetime.timedelta(days=45))) == []
    (warning,) = prices.warnings(TABLE.date + datetime.timedelta(days=46))
    assert str(TABLE.date) in warning


class TestOverride:
    """The owner's own table."""

    OWN: ClassVar = {
        "version": "mine",
        "providers": {
            "anthropic": {"models": {"claude-3-haiku": {"prices": {"input": 7, "output": 8}}}},
            "lab": {"names": ["*lab*"], "models": {"tiny": {"prices": {"input": 1}}}},
        },
    }

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "own.json"
        path.write_text(json.dumps(self.OWN))
        return path

    @pytest.fixture
    def prices(self, path, monkeypatch):
        monkeypatch.setattr("tracer.pricing.RECHECK_S", 0.0)
        return Prices(SHIPPED, path, Quality())

    def usd(self, prices, provider, model):
        return prices.charge(provider, [model], Tokens(10**6, 0), NOW, None)

    def test_it_adds_and_overrides(self, prices):
        assert self.usd(prices, "anthropic", "claude-3-haiku") == (7, "computed", "mine")
        assert self.usd(prices, "my-anthropic", "claude-3-haiku") == (7, "computed", "mine")
        assert self.usd(prices, "the-lab", "tiny") == (1, "computed", "mine")
        assert self.usd(prices, "anthropic", "claude-3-opus").price_version == TABLE.version

    def test_it_is_read_again_when_it_changes(self, prices, path):
        assert self.usd(prices, "lab", "tiny").usd == 1
        path.write_text(path.read_text().replace('"input": 1', '"input": 2'))
        os.utime(path, ns=(1, 1))
        assert self.usd(prices, "lab", "tiny").usd == 2

    @pytest.mark.parametrize(
        "broken",
        [
            "{",
            "[]",
            '{"version":"x","providers":{"lab":{"models":{"tiny":{"prices":{"input":-1}}}}}}',
            '{"version":"x","providers":{"lab":{"models":{"tiny":{"prices":[]}}}}}',
            '{"version":"x","providers":{"lab":{"models":{"tiny":{}}}}}',
            '{"version":"x","providers":{"lab":{"names":["re:("],"models":{}}}}',
        ],
    )
    def test_broken_file_is_told_and_what_was_read_before_stays(self, prices, path, broken):
        self.usd(prices, "lab", "tiny")
        good = path.read_text()
        path.write_text(broken)
        assert self.usd(prices, "lab", "tiny").usd == 1
        (warning,) = prices.warnings(TABLE.date)
        assert str(path) in warning
        path.write_text(good)
        assert self.usd(prices, "lab", "tiny").usd == 1
        assert list(prices.warnings(TABLE.date)) == []

    def test_file_that_is_missing_is_told_and_taken_once_it_is_there(self, prices, path):
        text = path.read_text()
        path.unlink()
        assert self.usd(prices, "lab", "tiny").usd is None
        assert next(prices.warnings(TABLE.date))
        path.write_text(text)
        assert self.usd(prices, "lab", "tiny").usd == 1
