"""What the samples say of the host and of the gateway in a stretch of time."""

from pathlib import Path
from typing import Any, Final

from tracer.cli import database

PEAKS: Final = ("mem_percent", "disk_percent", "cpu_percent", "gateway_rss_bytes")

_WINDOW: Final = "created_at >= ? AND created_at < ?"


def peaks(path: Path, since_ms: int, until_ms: int) -> dict[str, Any]:
    """The highest of each of `PEAKS`, when that was, and the newest; and the samples there are."""
    window = (since_ms, until_ms)
    found: dict[str, Any] = {}
    for name in PEAKS:
        # Beside max(), SQLite takes the other columns from the row that has the maximum.
        [(peak, at, used, whole)] = database.read(
            path,
            f"SELECT max({name}), created_at, {_of(name)} FROM system_metrics WHERE {_WINDOW}",
            *window,
        )
        found[name] = {"peak": peak, "at": at, "used_bytes": used, "total_bytes": whole}
    newest = database.read(
        path,
        f"SELECT {', '.join(PEAKS)} FROM system_metrics WHERE {_WINDOW} ORDER BY id DESC LIMIT 1",
        *window,
    )
    for name, value in zip(PEAKS, newest[0] if newest else (None,) * len(PEAKS), strict=True):
        found[name]["newest"] = value
    [(samples, oom_kills)] = database.read(
        path,
        f"SELECT count(*), coalesce(sum(oom_kills), 0) FROM system_metrics WHERE {_WINDOW}",
        *window,
    )
    return {"samples": samples, "oom_kills": oom_kills, "peaks": found}


def gateway(path: Path, since_ms: int, until_ms: int) -> dict[str, Any]:
    """Restarts: another process than in the sample before. Crashes: what the sidecar reported."""
    window = (since_ms, until_ms)
    [(restarts, last_at)] = database.read(
        path,
        "SELECT count(*), max(created_at) FROM (SELECT created_at, gateway_pid, "
        "lag(gateway_pid) OVER (ORDER BY id) AS before FROM system_metrics "
        f"WHERE {_WINDOW} AND gateway_pid IS NOT NULL) WHERE gateway_pid <> before",
        *window,
    )
    [(watched, up)] = database.read(
        path,
        f"SELECT count(gateway_up), sum(gateway_up) FROM system_metrics WHERE {_WINDOW}",
        *window,
    )
    crashes = database.read(
        path,
        f"SELECT category, count(*) FROM error_events WHERE {_WINDOW} AND error_type = 'crash' "
        "AND category IN ('process_crash', 'oom_kill') GROUP BY category",
        *window,
    )
    return {
        "restarts": restarts,
        "last_restart_at": last_at,
        "crashes": {"process_crash": 0, "oom_kill": 0, **dict(crashes)},
        "up_percent": 100 * up / watched if watched else None,
    }


def _of(name: str) -> str:
    """The columns that say how much a share is, and of what."""
    part = name.removesuffix("_percent")
    return f"{part}_used_bytes, {part}_total_bytes" if part in ("mem", "disk") else "NULL, NULL"
