"""Costs of rows that are stored already, from the price table as it is now."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tracer import usage
from tracer.cli import database
from tracer.events.llm_trace import WRAPPERS
from tracer.pricing import Cost, Prices
from tracer.usage import Tokens

IDS_PER_BATCH: Final = 1000
"""Of one transaction: milliseconds, in which the service's writer waits."""

LEAST_PAUSE_S: Final = 0.02
"""Between two transactions; at least as long as the last one took, so that the service, which asks
for the lock again and again, gets it."""

_COLUMNS: Final = (
    *("id", "trace_id", "provider", "response_model", "model", "created_at", "pushed_at"),
    *("cost_usd", "price_version", "operation", "metadata"),
    *("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "total_tokens"),
)
_MISSING: Final = "cost_usd IS NULL"
_COMPUTED: Final = "(cost_usd IS NULL OR cost_source = 'computed')"


@dataclass
class Outcome:
    """What a run did. `pushed` of the changed rows are at the remote with their old cost."""

    changed: int = 0
    pushed: int = 0
    added_usd: float = 0.0
    without_price: Counter[str] = field(default_factory=Counter)


def reprice(
    path: Path,
    prices: Prices,
    outcome: Outcome,
    *,
    every_computed: bool,
    is_dry_run: bool,
    progress: Callable[[int, int], None],
) -> None:
    """Fills missing costs; with `every_computed` also computes anew what was computed before.

    What the agent sent stays. Each batch is read, computed, and only then written in one short
    transaction, so ending it at any moment loses nothing: the next run finds what is left.
    `outcome` counts what was committed, also when this raises.
    """
    [(first, last)] = database.read(path, "SELECT min(id), max(id) FROM llm_traces")
    if first is None:
        return
    for start in range(first, last + 1, IDS_PER_BATCH):
        changes = list(_changes(path, prices, start, outcome, every_computed=every_computed))
        if changes and not is_dry_run:
            began = time.monotonic()
            changes = _write(path, changes)
            time.sleep(max(LEAST_PAUSE_S, time.monotonic() - began))
        for row, cost in changes:
            outcome.changed += 1
            outcome.pushed += row["pushed_at"] is not None
            outcome.added_usd += (cost.usd or 0.0) - (row["cost_usd"] or 0.0)
        progress(min(start + IDS_PER_BATCH, last + 1) - first, last + 1 - first)


Change = tuple[dict[str, Any], Cost]


def _changes(
    path: Path, prices: Prices, start: int, outcome: Outcome, *, every_computed: bool
) -> Iterator[Change]:
    """The rows of one range of ids that get another cost than they have."""
    rows = database.read(
        path,
        f"SELECT {', '.join(_COLUMNS)} FROM llm_traces WHERE id BETWEEN ? AND ? "
        f"AND {_COMPUTED if every_computed else _MISSING}",
        start,
        start + IDS_PER_BATCH - 1,
    )
    for values in rows:
        row = dict(zip(_COLUMNS, values, strict=True))
        if row["operation"] in WRAPPERS:
            continue
        tokens = _tokens(row)
        models = (row["response_model"], row["model"])
        cost = prices.charge(row["provider"], models, tokens, row["created_at"], None)
        if cost.usd is None:
            if row["cost_usd"] is None and tokens[:2] != (None, None):
                outcome.without_price[f"{row['provider']}/{row['model']}"] += 1
        elif (cost.usd, cost.price_version) != (row["cost_usd"], row["price_version"]):
            yield row, cost


def _tokens(row: dict[str, Any]) -> Tokens:
    """The columns, and from the provider's own words in the metadata what has no column."""
    tokens = Tokens(
        row["prompt_tokens"],
        row["completion_tokens"],
        row["cache_read_tokens"],
        row["cache_write_tokens"],
        row["reasoning_tokens"],
        row["total_tokens"],
    )
    if tokens.cache_write and row["metadata"] and "cache_creation" in row["metadata"]:
        with contextlib.suppress(msgspec.DecodeError):
            metadata = msgspec.json.decode(row["metadata"])
            said = next((metadata[name] for name in usage.NAMES if name in metadata), metadata)
            found = usage.read({"input_tokens": 0, **said}) if isinstance(said, dict) else None
            if found is not None:
                return tokens._replace(cache_write_1h=found.cache_write_1h)
    return tokens


def _write(path: Path, changes: list[Change]) -> list[Change]:
    """One transaction; the changes that found their row as it was read."""
    with database.writing(path) as connection:
        return [
            (row, cost)
            for row, cost in changes
            if connection.execute(
                "UPDATE llm_traces SET cost_usd = ?, cost_source = ?, price_version = ? "
                "WHERE id = ? AND trace_id = ? AND cost_usd IS ? AND cost_source IS NOT 'agent'",
                (*cost, row["id"], row["trace_id"], row["cost_usd"]),
            ).rowcount
        ]
