"""shows the health and the ledger of the running sidecar

Exit code 0 when it is healthy, 1 when it is degraded, 3 when none answers.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from config.settings import Settings
from tracer.cli import sidecar
from tracer.cli.exits import Exit
from tracer.cli.screen import Screen, Table
from tracer.cli.units import ago, count, duration, percent, size
from tracer.timestamps import now_ms


def add_arguments(_: argparse.ArgumentParser) -> None:
    """None."""


def run(_args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """Asks `/health` of the addresses in the settings."""
    health = sidecar.health(settings.bind, settings.api_key)
    if screen.is_json:
        screen.data(health)
    else:
        screen.tables(Table("openclaw-trace", ("what", "how it is"), list(_rows(health))))
        if "events" in health:
            screen.tables(*_ledger(health["events"]))
        workers = [
            (
                name,
                "alive" if state["alive"] else "dead",
                count(state["failures"]),
                ago(state["last_ok_at"], now_ms()),
            )
            for name, state in health.get("workers", {}).items()
        ]
        if workers:
            headings = ("thread", "state", ">failures", "last success")
            screen.tables(Table("Threads", headings, workers))
        for warning in health.get("warnings", ()):
            screen.say(f"warning: {warning}")
    return Exit.OK if health["status"] == "ok" else Exit.FAILED


def _rows(health: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A stranger gets the first two only."""
    yield "status", health["status"]
    yield "up for", duration(health["uptime_seconds"] * 1000)
    if "version" not in health:
        return
    yield "version", health["version"]
    yield "database", health["db_status"]
    wal = size(health["wal_size_bytes"])
    yield "database size", f"{size(health['db_size_bytes'])}, write-ahead log {wal}"
    yield "volume", f"{percent(health['disk_percent'])} full"
    yield "queue", f"{count(health['queue_depth'])} of {count(health['queue_capacity'])}"
    yield "not pushed yet", count(health["unpushed"])
    last = ago(health["last_push_time"], now_ms())
    yield "last push", f"{last}: {health['last_push_status']}" if health["last_push_time"] else last
    yield "push circuit", health["push_breaker"]


def _ledger(events: Mapping[str, Any]) -> Iterator[Table]:
    """The two sums, side by side."""
    headings = ("", ">events")
    names: tuple[str, ...] = (
        "received",
        "rejected",
        "accepted",
        "stored",
        "duplicate",
        "queued",
        "lost",
    )
    yield Table("Since the start", headings, list(_counts(events, names)))
    names = ("stored", "pushed", "unpushed", "refused", "deleted")
    yield Table("In this database", headings, list(_counts(events["rows"], names)))


def _counts(counts: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        value = counts[name]
        if not isinstance(value, dict):
            yield name, f"{value:,}"
            continue
        yield name, f"{sum(value.values()):,}"
        for reason, number in sorted(value.items(), key=lambda pair: -pair[1]):
            yield f"  {reason}", f"{number:,}"
