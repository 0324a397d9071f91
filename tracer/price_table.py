"""The file of model prices (`config/prices.json`, or the owner's): reading it, finding a model.

Models stay undecoded until somebody asks for one of their provider: 2,300 of them would be
megabytes of objects. Providers and models are found by patterns: a text, with `*` at its ends for
anything, or a regular expression after `re:`.
"""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

SHIPPED: Final = Path(__file__).parent.parent / "config" / "prices.json"
MAX_FILE_BYTES: Final = 8 * 1024**2
MAX_PREFIXES: Final = 3
"""Most `provider/` prefixes taken off a model's name."""

LOCAL: Final = frozenset(
    {"ollama", "ollama_chat", "lmstudio", "lm-studio", "lm_studio", "llama.cpp", "llamacpp"}
    | {"llama-cpp", "vllm", "sglang", "localai", "local", "localhost", "mlx", "koboldcpp", "jan"}
)
"""Run on the owner's machine: a model known elsewhere does not tell what it costs there."""

Rate = float | list[tuple[int, float]]
"""US dollars per million tokens, or tiers: from more than so many prompt tokens on, for all."""


class Price(msgspec.Struct, forbid_unknown_fields=True):
    """The rates of a model, from a day on or in some hours (UTC) when it says so.

    `request` is US dollars per call.
    """

    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    reasoning: Rate | None = None
    request: float = 0.0
    since: datetime.date | None = None
    daily: tuple[str, str] | None = None


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """`match` are the patterns of its name, by default its own. Of several prices the last that
    applies counts.
    """

    prices: Price | list[Price]
    match: list[str] | None = None


class Provider(msgspec.Struct, forbid_unknown_fields=True):
    """`names` are patterns under which it goes; `model_names` those of models that tell it when the
    provider's name does not; `fallback` are providers whose models it serves as well.
    """

    models: Raw
    names: list[str] = []
    model_names: list[str] = []
    fallback: list[str] = []


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """`date` is when the prices were true."""

    version: str
    providers: dict[str, Provider]
    date: datetime.date | None = None


_models: Final = msgspec.json.Decoder(dict[str, Model])


def read(path: Path) -> Table:
    """Raises OSError, or ValueError that says what is wrong."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
    return msgspec.json.decode(path.read_bytes(), type=Table)


def check(table: Table) -> None:
    """Raises ValueError for what would only show when somebody asks for the model."""
    for name, provider in table.providers.items():
        patterns = [*provider.names, *provider.model_names]
        try:
            models = _models.decode(provider.models)
        except msgspec.DecodeError as error:
            raise ValueError(f"{error}, in the models of {name}") from None
        for model_name, model in models.items():
            patterns += model.match or []
            prices = [model.prices] if isinstance(model.prices, Price) else model.prices
            if not prices or not all(_is_sound(price) for price in prices):
                raise ValueError(f"{name}/{model_name} has no price, or one below 0")
        for pattern in patterns:
            fits(pattern, "")


def _is_sound(price: Price) -> bool:
    rates: list[float] = [price.request]
    for rate in (price.input, price.output, price.cache_read, price.cache_write):
        rates += [amount for _, amount in rate] if isinstance(rate, list) else [rate or 0.0]
    for rate in (price.cache_write_1h, price.reasoning):
        rates += [amount for _, amount in rate] if isinstance(rate, list) else [rate or 0.0]
    has_rate = price.request or price.input is not None or price.output is not None
    return bool(has_rate) and all(0 <= rate < float("inf") for rate in rates)


def fits(pattern: str, text: str) -> bool:
    """Whether a text, in lower case, is meant by a pattern. Raises ValueError for a bad one."""
    if pattern.startswith("re:"):
        try:
            return re.search(pattern[3:], text) is not None
        except re.error as error:
            raise ValueError(f"the pattern {pattern!r}: {error}") from None
    body = pattern.strip("*").lower()
    if pattern[:1] == "*":
        return body in text if pattern[-1:] == "*" else text.endswith(body)
    return text.startswith(body) if pattern[-1:] == "*" else text == body


def find(tables: list[Table], provider: str, model: str) -> tuple[tuple[Price, ...], str] | None:
    """The prices of a model and the version of the table they are from. Names in lower case.

    Of the tables the first that knows the model decides; the last knows the providers' names.
    """
    known = tables[-1]
    for name, reference in _readings(known, provider, model):
        provider_id = next(filter(None, (_provider_id(t, name, reference) for t in tables)), None)
        section = known.providers.get(provider_id or "")
        for candidate in [provider_id, *(section.fallback if section is not None else [])]:
            for table in tables:
                if candidate in table.providers:
                    prices = _search(table.providers[candidate].models, reference)
                    if prices is not None:
                        return prices, table.version
    return None


def _readings(known: Table, provider: str, model: str) -> Iterator[tuple[str | None, str]]:
    """Ways to read a model's name, the most literal first: `openrouter/anthropic/claude-…` is a
    model of OpenRouter, or Anthropic's by way of somebody. The last, by the model's name alone, is
    for a provider nobody knows: a gateway or proxy.
    """
    yield provider, model
    if provider in LOCAL or model.endswith(":free"):  # OpenRouter's, which others charge for
        return
    rest = model
    for _ in range(MAX_PREFIXES):
        prefix, slash, rest = rest.partition("/")
        if not slash:
            rest = prefix
            break
        if prefix in LOCAL:
            return
        yield provider, rest
        yield prefix, rest
    if _provider_id(known, provider, model) is None:
        yield None, rest


def _provider_id(table: Table, name: str | None, model: str) -> str | None:
    """The id under which the table has a provider; one without a name is told by the model."""
    if name in table.providers:
        return name
    for provider_id, provider in table.providers.items():
        patterns = provider.model_names if name is None else provider.names
        if any(fits(pattern, model if name is None else name) for pattern in patterns):
            return provider_id
    return None


def _search(raw: Raw, reference: str) -> tuple[Price, ...] | None:
    """The first model whose patterns fit the reference, or one of its less exact spellings."""
    models = _models.decode(raw)
    for spelling in _spellings(reference):
        for name, model in models.items():
            patterns = [name] if model.match is None else model.match
            if any(fits(pattern, spelling) for pattern in patterns):
                return (model.prices,) if isinstance(model.prices, Price) else (*model.prices,)
    return None


_COMPACT_DATE = re.compile(r"-(20\d\d)([01]\d)([0-3]\d)(?=-|:|$)")
_SUFFIX = re.compile(
    r"(?:[-@:](?:20\d{6}|20\d\d-\d\d-\d\d|latest|preview|v\d{1,3}(?::\d{1,3})?))+$"
)


def _spellings(reference: str) -> Iterator[str]:
    """A dated name in its other form, then without date, version and the like."""
    yield reference
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", reference)
    if dashed != reference:
        yield dashed
    bare = _SUFFIX.sub("", reference)
    if bare != reference:
        yield bare
