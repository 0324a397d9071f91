"""Makes `config/prices.json` from the `genai-prices` package. `python -m tests.prices` writes it.

The package knows models, tiers and dates, but costs 12 MB when imported: so it is no dependency of
the service, which reads this file, and the oracle of its tests.
"""

import datetime
import importlib.metadata
import json
import re

from genai_prices import data, types

from tests.support.gunicorn import PROJECT

FILE = PROJECT / "config" / "prices.json"

PRICES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "request",
}
"""What a call's tokens can be multiplied by. Other units (audio, images, searches) are not known here."""

MORE_NAMES = {
    "aws": ["aws.bedrock", "aws_bedrock"],
    "azure": ["az.ai.openai", "azure.ai.*", "azure-*", "azure_*"],
    "fireworks": ["fireworks*"],
    "google": ["gcp.*"],
    "mistral": ["mistral_ai"],
    "moonshotai": ["moonshot_ai"],
    "x-ai": ["x_ai", "grok"],
    "zai": ["z-ai", "z.ai", "z_ai"],
}
"""Names of OpenTelemetry and of agents that the package does not know."""

CLOSED = ("anthropic", "google", "openai", "x-ai")
"""Their models are served by nobody for less, so the model's name alone tells the price."""


def table(today):
    version = f"genai-prices {importlib.metadata.version('genai-prices')}"
    providers = {p.id: _provider(p) for p in data.providers}
    return {"version": version, "date": str(today), "providers": providers}


def _provider(provider):
    section = {}
    names = MORE_NAMES.get(provider.id, []) + _patterns(provider.provider_match)
    if names:
        section["names"] = names
    if provider.id in CLOSED:
        section["model_names"] = _patterns(provider.model_match)
    if provider.fallback_model_providers:
        section["fallback"] = provider.fallback_model_providers
    models = {}
    for model in provider.models:
        prices = _prices(model)
        if prices is not None:
            match = _patterns(model.match)
            own = {} if match == [model.id.lower()] else {"match": match}
            models[model.id] = own | {"prices": prices}
    return section | {"models": models}


def _patterns(clause):
    """Globs with `*` at their ends, or regular expressions after `re:`."""
    match clause:
        case None:
            return []
        case types.ClauseOr():
            return [pattern for part in clause.or_ for pattern in _patterns(part)]
        case types.ClauseEquals():
            return [clause.equals.lower()]
        case types.ClauseStartsWith():
            return [clause.starts_with.lower() + "*"]
        case types.ClauseEndsWith():
            return ["*" + clause.ends_with.lower()]
        case types.ClauseContains():
            return [f"*{clause.contains.lower()}*"]
        case types.ClauseRegex():
            return ["re:" + clause.regex]
        case types.ClauseAnd():
            return ["re:" + "".join(_lookahead(part) for part in clause.and_)]
    raise TypeError(clause)


def _lookahead(clause):
    (pattern,) = _patterns(clause)
    if pattern.startswith("re:"):
        return f"(?={pattern[3:]})" if pattern[3:4] == "^" else f"(?=.*{pattern[3:]})"
    body = re.escape(pattern.strip("*"))
    return f"(?={'.*' if pattern[0] == '*' else '^'}{body}{'' if pattern[-1] == '*' else '$'})"


def _prices(model):
    """One object, or a list of which the last that applies counts; None without a price for tokens."""
    if isinstance(model.prices, types.ModelPrice):
        conditions = [types.ConditionalPrice(prices=model.prices)]
    else:
        conditions = model.prices
    found = [_condition(c.constraint) | _price(c.prices) for c in conditions]
    if not all("input" in price or "output" in price for price in found):
        return None
    return found[0] if len(found) == 1 else found


def _condition(constraint):
    if constraint is None:
        return {}
    if isinstance(constraint, types.StartDateConstraint):
        return {"since": str(constraint.start_date)}
    clock = [
        datetime.datetime.combine(datetime.date(2026, 1, 1), moment).astimezone(datetime.UTC)
        if moment.tzinfo
        else moment
        for moment in (constraint.start_time, constraint.end_time)
    ]
    return {"daily": [f"{moment:%H:%M:%S}" for moment in clock]}


def _price(prices):
    scale = {"requests_kcount": 1000}
    return {
        name: _amount(value, scale.get(key, 1))
        for key, name in PRICES.items()
        if (value := getattr(prices, key)) is not None
    }


def _amount(value, scale):
    if isinstance(value, types.TieredPrices):
        tiers = [(0, value.base), *((tier.start, tier.price) for tier in value.tiers)]
        return [[start, _number(price, scale)] for start, price in tiers]
    return _number(value, scale)


def _number(price, scale):
    number = float(price / scale)
    return int(number) if number.is_integer() else number


def as_text(prices):
    """One model a line: small, and its history can be read."""
    lines = [
        f'{{"version":{json.dumps(prices["version"])},"date":"{prices["date"]}","providers":{{'
    ]
    sections = []
    for name, section in prices["providers"].items():
        rest = {key: value for key, value in section.items() if key != "models"}
        head = "".join(f"{json.dumps(k)}:{_compact(v)}," for k, v in rest.items())
        models = ",\n".join(
            f"{json.dumps(model)}:{_compact(value)}" for model, value in section["models"].items()
        )
        sections.append(f'{json.dumps(name)}:{{{head}"models":{{\n{models}\n}}}}')
    return "\n".join([*lines, ",\n".join(sections), "}}"]) + "\n"


def _compact(value):
    return json.dumps(value, separators=(",", ":"))


def main():
    FILE.write_text(as_text(table(datetime.datetime.now(datetime.UTC).date())))


if __name__ == "__main__":
    main()
