"""What a call costs (contract section 3). Pure but for the owner's table, which may change."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from cachetools import Cache, FIFOCache

from tracer import price_table
from tracer.price_table import Price, Rate, Table
from tracer.quality import Finding, Quality
from tracer.usage import Tokens

log = logging.getLogger(__name__)

MAX_CACHED: Final = 512
STALE_AFTER_DAYS: Final = 45
RECHECK_S: Final = 2.0
"""How often the owner's table is looked at."""

MISMATCH_SHARE: Final = 0.2

_Found = tuple[tuple[Price, ...], str]


class Inconsistent(ValueError):
    """The parts of a usage are more than the whole: no cost follows from it."""


class Cost(NamedTuple):
    """The columns `cost_usd`, `cost_source` and `price_version`."""

    usd: float | None
    source: str | None
    price_version: str | None


def cost_usd(price: Price, tokens: Tokens) -> float:
    """The cost of one call in US dollars. Raises Inconsistent.

    Cached tokens never cost more than uncached ones, whatever the table says. Tokens without a
    rate of their own have that of the tokens they are part of.
    """
    prompt, completion = tokens.prompt or 0, tokens.completion or 0
    read, write = tokens.cache_read or 0, tokens.cache_write or 0
    write_1h, reasoning = tokens.cache_write_1h or 0, tokens.reasoning or 0
    if read + write > prompt or reasoning > completion or write_1h > write:
        raise Inconsistent
    input_rate = _rate(price.input, prompt, 0.0)
    output_rate = _rate(price.output, prompt, 0.0)
    total = (prompt - read - write) * input_rate + (completion - reasoning) * output_rate
    if read:
        total += read * min(_rate(price.cache_read, prompt, input_rate), input_rate)
    if write:
        write_rate = _rate(price.cache_write, prompt, input_rate)
        write_1h_rate = _rate(price.cache_write_1h, prompt, write_rate)
        total += (write - write_1h) * write_rate + write_1h * write_1h_rate
    if reasoning:
        total += reasoning * _rate(price.reasoning, prompt, output_rate)
    return total / 1e6 + price.request


def _rate(rate: Rate | None, prompt: int, default: float) -> float:
    if rate is None:
        return default
    if not isinstance(rate, list):
        return rate
    reached = [amount for start, amount in rate if prompt > start or start == 0]
    return reached[-1] if reached else default


def price_at(prices: Sequence[Price], at_ms: int) -> Price:
    """The last of them that applies at this moment, or else the first."""
    if len(prices) > 1:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        for price in reversed(prices):
            if _applies(price, moment):
                return price
    return prices[0]


def _applies(price: Price, moment: datetime) -> bool:
    if price.since is not None and moment.date() < price.since:
        return False
    if price.daily is None:
        return True
    clock, (start, end) = f"{moment:%H:%M:%S}", price.daily
    return start <= clock < end if start <= end else clock >= start or clock < end


class Prices:
    """The shipped table and, before it, the owner's own. Any thread."""

    def __init__(self, shipped: Path, override: Path | None, quality: Quality) -> None:
        self._quality = quality
        self._problems: dict[Path, str] = {}
        self._shipped = self._read(shipped) or Table(version="none", providers={})
        self._override_path = override
        self._override: Table | None = None
        self._override_id: tuple[int, int, int] | None = None
        self._checked_at = float("-inf")
        self._found: Cache[tuple[str, str], Any] = FIFOCache(MAX_CACHED)
        self._lock = threading.Lock()

    def charge(
        self,
        provider: str,
        models: Sequence[str | None],
        tokens: Tokens,
        at_ms: int,
        sent_usd: float | None,
    ) -> Cost:
        """The cost of a call by the first of its models that has a price. The agent's own wins.

        Notes what is odd. Without tokens, a price or a consistent usage nothing is computed.
        """
        sent = Cost(sent_usd, None if sent_usd is None else "agent", None)
        if tokens.prompt is None and tokens.completion is None:
            return sent
        found = self._first(provider, models)
        if found is None:
            if sent_usd is None:
                self._note(Finding.UNKNOWN_MODEL, provider, models)
            return sent
        prices, version = found
        try:
            computed = cost_usd(price_at(prices, at_ms), tokens)
        except Inconsistent:
            self._note(Finding.TOKENS_INCONSISTENT, provider, models)
            return sent
        if sent_usd is None:
            return Cost(computed, "computed", version)
        if abs(sent_usd - computed) > MISMATCH_SHARE * computed:
            self._note(Finding.COST_MISMATCH, provider, models)
        return sent

    def _note(self, finding: Finding, provider: str, models: Sequence[str | None]) -> None:
        self._quality.note(finding, f"{provider}/{next(filter(None, models), None)}"[:120])

    def warnings(self, today: date) -> Iterator[str]:
        """What the owner should know of the tables."""
        yield from self._problems.values()
        made = self._shipped.date
        if made is not None and (today - made).days > STALE_AFTER_DAYS:
            yield f"the shipped prices are from {made}: upgrade, or set TRACE_PRICES_PATH"

    def _first(self, provider: str, models: Sequence[str | None]) -> _Found | None:
        with self._lock:
            self._reload_override()
            for model in models:
                if model and (found := self._cached(provider, model)):
                    return found
        return None

    def _cached(self, provider: str, model: str) -> _Found | None:
        found = self._found.get((provider, model), ...)
        if found is not ...:
            return cast("_Found | None", found)
        tables = [table for table in (self._override, self._shipped) if table is not None]
        found = price_table.find(tables, provider.strip().lower(), model.strip().lower())
        self._found[provider, model] = found
        return found

    def _reload_override(self) -> None:
        """Reads the owner's table again when the file is another than before."""
        path, now = self._override_path, time.monotonic()
        if path is None or now - self._checked_at < RECHECK_S:
            return
        self._checked_at = now
        try:
            status = path.stat()
            found = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            found = None
        if found is not None and found == self._override_id:
            return
        self._override_id = found
        table = self._read(path)
        if table is not None:  # else what was read before stays in force
            self._override = table
            self._found.clear()
            log.info("prices of %s, version %s", path, table.version)

    def _read(self, path: Path) -> Table | None:
        """The table, or None and a problem: prices are never a reason not to run."""
        try:
            table = price_table.read(path)
            price_table.check(table)
        except (OSError, ValueError) as error:
            problem = f"the prices in {path} cannot be used: {error}"
            if self._problems.get(path) != problem:
                log.warning("%s", problem)
            self._problems[path] = problem
            return None
        self._problems.pop(path, None)
        return table
