"""shows cost, calls, latency, errors and host peaks on one screen

Reads the database, on short connections that cannot write: the service need not run, and is not
disturbed when it does. Days are UTC.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from config.readers import duration_s
from config.settings import Settings
from tracer.cli import database, host
from tracer.cli.exits import Exit
from tracer.cli.screen import Screen, Table
from tracer.cli.units import NONE, THIS_YEAR, bar, count, cut, duration, moment, percent, size, usd
from tracer.errors import EventError
from tracer.reading import Reader
from tracer.timestamps import now_ms, parse_ms

PATIENCE_S: Final = 120.0
"""Longest wait for one statistic: nobody but the caller waits here."""

MOST_MODELS: Final = 7
MOST_DAYS: Final = 8
MOST_SESSIONS: Final = 5
MOST_CAUSES: Final = 6
BAR_WIDTH: Final = 8
NAME_WIDTH: Final = 32
SESSION_WIDTH: Final = 20

_PEAK_NAMES: Final = {
    "mem_percent": "memory",
    "disk_percent": "disk",
    "cpu_percent": "CPU",
    "gateway_rss_bytes": "gateway memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stretch of time."""
    parser.add_argument(
        "--since", type=_moment, default="7d", help="a time, or a duration ago (default: 7d)"
    )
    parser.add_argument("--until", type=_moment, help="the same (default: now)")


def run(args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """Reads everything, then shows it."""
    database.check(settings.db_path)
    until_ms = now_ms() if args.until is None else args.until
    if args.since >= until_ms:
        screen.fail("--since must be before --until")
        return Exit.USAGE
    report = _read(settings, args.since, until_ms)
    if screen.is_json:
        screen.data(report)
        return Exit.OK
    for line in _summary(report):
        screen.say(line)
    screen.say("")
    for row in _layout(report, _bars(screen)):
        screen.tables(*row)
    return Exit.OK


def _moment(text: str) -> int:
    """What `timestamp` takes, or a duration ago."""
    try:
        return now_ms() - round(duration_s(text) * 1000) if text[-1:].isalpha() else parse_ms(text)
    except (ValueError, EventError):
        pass
    try:
        return parse_ms(text)
    except EventError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time such as 2026-11-01 nor a duration such as 7d"
        ) from None


def _read(settings: Settings, since_ms: int, until_ms: int) -> dict[str, Any]:
    reader, window = Reader(settings.db_path, deadline_s=PATIENCE_S), (since_ms, until_ms)
    return {
        "agent_id": settings.agent_id,
        "since": since_ms,
        "until": until_ms,
        "cost": {by: reader.cost(by, *window) for by in ("model", "day", "session")},
        "latency": {"model": reader.latency("model", *window)},
        "errors": {by: reader.errors(by, *window) for by in ("category", "model", "day")},
        "host": host.peaks(settings.db_path, *window),
        "gateway": host.gateway(settings.db_path, *window),
    }


def _summary(report: Mapping[str, Any]) -> Iterator[str]:
    total = report["cost"]["model"]["total"]
    window = f"{moment(report['since'])} to {moment(report['until'])} UTC"
    yield f"openclaw-trace, {report['agent_id']}, {window}"
    yield (
        f"{usd(total['cost_usd'])}, {usd(total['projected_month_usd'])} a month at this pace; "
        f"{count(total['calls'])} calls, {count(total['total_tokens'])} tokens, "
        f"{count(report['errors']['category']['total']['count'])} errors"
    )
    if total["calls_without_cost"]:
        calls = count(total["calls_without_cost"])
        yield f"{calls} calls have no price: see `openclaw-trace reprice`"


Bars = Callable[[float, Iterable[float]], str]


def _bars(screen: Screen) -> Bars:
    def draw(value: float, all_values: Iterable[float]) -> str:
        return bar(value, max(all_values), BAR_WIDTH, is_unicode=screen.is_unicode)

    return draw


def _layout(report: Mapping[str, Any], draw: Bars) -> Iterator[tuple[Table, ...]]:
    """Tables in rows; those of a row stand beside each other where there is room."""
    yield (_models(report, draw),)
    yield (_days(report, draw), _sessions(report))
    yield (_causes(report, draw), _host(report))


def _models(report: Mapping[str, Any], draw: Bars) -> Table:
    items = report["cost"]["model"]["items"]
    latency = {item["model"]: item for item in report["latency"]["model"]["items"]}
    errors = {item["model"]: item["count"] for item in report["errors"]["model"]["items"]}
    largest = _measures(items)
    rows = [
        (
            cut(str(item["model"]), NAME_WIDTH),
            count(item["calls"]),
            count(item["total_tokens"]),
            _cost(item),
            draw(measure, largest),
            count(errors.get(item["model"], 0)),
            *_percentiles(latency.get(item["model"], {}).get("latency_ms")),
            *_percentiles(latency.get(item["model"], {}).get("ttft_ms"))[:1],
        )
        for item, measure in list(zip(items, largest, strict=True))[:MOST_MODELS]
    ]
    headings = ("model", ">calls", ">tokens", ">cost", "", ">errors")
    return Table(
        _title("Models", items, MOST_MODELS),
        (*headings, ">p50", ">p95", ">p99", ">ttft"),
        rows,
        "no calls",
    )


def _days(report: Mapping[str, Any], draw: Bars) -> Table:
    items = sorted(report["cost"]["day"]["items"], key=lambda item: item["day"], reverse=True)
    errors = {item["day"]: item["count"] for item in report["errors"]["day"]["items"]}
    largest = _measures(items)
    rows = [
        (
            item["day"],
            count(item["calls"]),
            count(item["total_tokens"]),
            _cost(item),
            draw(measure, largest),
            count(errors.get(item["day"], 0)),
        )
        for item, measure in list(zip(items, largest, strict=True))[:MOST_DAYS]
    ]
    headings = ("day", ">calls", ">tokens", ">cost", "", ">errors")
    return Table(_title("Days", items, MOST_DAYS), headings, rows, "no calls")


def _sessions(report: Mapping[str, Any]) -> Table:
    items = [item for item in report["cost"]["session"]["items"] if item["session"] is not None]
    items.sort(key=lambda item: (-(item["cost_usd"] or 0), -item["calls"]))
    rows = [
        (cut(item["session"], SESSION_WIDTH), count(item["calls"]), _cost(item))
        for item in items[:MOST_SESSIONS]
    ]
    title = _title("Dearest sessions", items, MOST_SESSIONS)
    return Table(title, ("session", ">calls", ">cost"), rows, "no sessions")


def _causes(report: Mapping[str, Any], draw: Bars) -> Table:
    items = report["errors"]["category"]["items"]
    counts = [item["count"] for item in items]
    rows = [
        (str(item["category"]), count(item["count"]), draw(item["count"], counts))
        for item in items[:MOST_CAUSES]
    ]
    return Table(_title("Errors", items, MOST_CAUSES), ("cause", ">errors", ""), rows, "no errors")


def _host(report: Mapping[str, Any]) -> Table:
    """Peaks, then what became of the gateway."""
    found, gateway = report["host"], report["gateway"]
    rows = []
    for name, label in _PEAK_NAMES.items():
        peak = found["peaks"][name]
        show = percent if name.endswith("_percent") else size
        if peak["peak"] is not None:
            of = "" if peak["total_bytes"] is None else f" of {size(peak['total_bytes'])}"
            when = moment(peak["at"], THIS_YEAR)
            rows.append((label + of, show(peak["peak"]), show(peak["newest"]), when))
    if gateway["up_percent"] is not None:
        last = moment(gateway["last_restart_at"], THIS_YEAR) if gateway["restarts"] else ""
        rows.append(("gateway restarts", count(gateway["restarts"]), "", last))
        crashes = count(sum(gateway["crashes"].values()))
        rows.append(("gateway crashes", crashes, "", ""))
    if found["samples"]:
        rows.append(("OOM kills", count(found["oom_kills"]), "", ""))
    headings = ("", ">peak", ">now", "when")
    return Table("Host and gateway", headings, rows, "no samples")


def _measures(items: Iterable[Mapping[str, Any]]) -> list[float]:
    """How long the bars are: by cost, or by calls where nothing has a price."""
    items = list(items)
    costs = [item["cost_usd"] or 0.0 for item in items]
    return costs if any(costs) else [item["calls"] for item in items]


def _cost(item: Mapping[str, Any]) -> str:
    """No price is not free."""
    is_unknown = item["calls_without_cost"] == item["calls"]
    return NONE if is_unknown else usd(item["cost_usd"])


def _percentiles(found: Mapping[str, Any] | None) -> list[str]:
    found = found or {}
    return [duration(found.get(name)) for name in ("p50", "p95", "p99")]


def _title(title: str, items: list[Any], most: int) -> str:
    return f"{title} ({most} of {len(items)})" if len(items) > most else title
