"""Statistics straight from the database, in the shapes of contract section 5."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tracer.cli import database

DAY_MS: Final = 86_400_000
MONTH_DAYS: Final = 30

_DAY: Final = "date(created_at / 1000, 'unixepoch')"
_COST_KEYS: Final = {
    "model": "model",
    "provider": "provider",
    "session": "session_id",
    "day": _DAY,
    "agent": "agent_id",
}
_ERROR_KEYS: Final = {
    "category": (
        "category",
        "CASE status WHEN 'rate_limited' THEN 'rate_limit' WHEN 'timeout' THEN 'timeout' "
        "ELSE coalesce(error_type, 'other') END",
    ),
    "error_type": ("error_type", "coalesce(error_type, 'llm_error')"),
    "model": ("model", "model"),
    "day": (_DAY, _DAY),
}
_SUMS: Final = (
    "count(*)",
    "coalesce(sum(prompt_tokens), 0)",
    "coalesce(sum(completion_tokens), 0)",
    "coalesce(sum(total_tokens), 0)",
    "coalesce(sum(cost_usd), 0.0)",
    "sum(cost_usd IS NULL)",
)
_SUM_NAMES: Final = (
    *("calls", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("cost_usd", "calls_without_cost"),
)


class Reader:
    """Each answer is one short read-only connection; blocks while the query runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cost(self, by: str, since_ms: int, until_ms: int) -> dict[str, Any]:
        """Calls, tokens and cost, the dearest first; a month at the pace of the window."""
        rows = database.read(
            self._path,
            f"SELECT {_COST_KEYS[by]}, {', '.join(_SUMS)} FROM llm_traces "
            "WHERE created_at >= ? AND created_at < ? GROUP BY 1 ORDER BY 6 DESC, 2 DESC",
            since_ms,
            until_ms,
        )
        items = [{by: row[0], **dict(zip(_SUM_NAMES, row[1:], strict=True))} for row in rows]
        total = {name: sum(item[name] for item in items) for name in _SUM_NAMES}
        days = (until_ms - since_ms) / DAY_MS
        return {
            "items": items,
            "total": {**total, "projected_month_usd": total["cost_usd"] / days * MONTH_DAYS},
        }

    def latency(self, by: str, since_ms: int, until_ms: int) -> dict[str, Any]:
        """Exact percentiles, by nearest rank."""
        calls: defaultdict[str, int] = defaultdict(int)
        values = {name: defaultdict[str, Any](lambda: array("d")) for name in _LATENCIES}
        with database.reading(self._path) as connection:
            for key, *measured in connection.execute(
                f"SELECT {_COST_KEYS[by]}, {', '.join(_LATENCIES)} FROM llm_traces "
                "WHERE created_at >= ? AND created_at < ?",
                (since_ms, until_ms),
            ):
                calls[key] += 1
                for name, value in zip(_LATENCIES, measured, strict=True):
                    if value is not None:
                        values[name][key].append(value)
        return {
            "items": [
                {by: key, "calls": number}
                | {name: _percentiles(sorted(values[name][key])) for name in _LATENCIES}
                for key, number in sorted(calls.items(), key=lambda pair: -pair[1])
            ]
        }

    def errors(self, by: str, since_ms: int, until_ms: int) -> dict[str, Any]:
        """Error events and failed calls together, the most frequent first."""
        event_key, call_key = _ERROR_KEYS[by]
        window = "created_at >= ? AND created_at < ?"
        rows = database.read(
            self._path,
            f"SELECT key, count(*) FROM (SELECT {event_key} AS key FROM error_events "
            f"WHERE {window} UNION ALL SELECT {call_key} FROM llm_traces "
            f"WHERE status <> 'success' AND {window}) GROUP BY key ORDER BY 2 DESC, 1",
            *(since_ms, until_ms) * 2,
        )
        return {
            "items": [{by: key, "count": number} for key, number in rows],
            "total": {"count": sum(number for _, number in rows)},
        }


_LATENCIES: Final = ("latency_ms", "ttft_ms")


def _percentiles(ordered: Sequence[float]) -> dict[str, float | None]:
    if not ordered:
        return dict.fromkeys(("p50", "p95", "p99", "max"))
    ranks = {f"p{share}": -(-share * len(ordered) // 100) for share in (50, 95, 99)}
    return {**{name: ordered[rank - 1] for name, rank in ranks.items()}, "max": ordered[-1]}
