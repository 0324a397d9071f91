"""shows events as they arrive, until Ctrl-C

With --json one object a line, with every column.
"""

import argparse
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from config.settings import Settings
from tracer import store_file
from tracer.cli import database
from tracer.cli.exits import Exit
from tracer.cli.screen import Screen
from tracer.cli.units import SECONDS, clean, count, cut, duration, moment, percent, size, usd
from tracer.events import KINDS, Event
from tracer.reading import decoded_metadata

POLL_S: Final = 0.5
MAX_ROWS: Final = 500
"""Of one kind at a time: a short query is one that is in nobody's way."""

MESSAGE_CHARACTERS: Final = 160
_BY_NAME: Final = {kind.type_name: kind for kind in KINDS}
_DEFAULT: Final = [kind.type_name for kind in KINDS if kind.route is not None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which events, and how many of those there are already."""
    parser.add_argument(
        "--kind",
        action="append",
        choices=list(_BY_NAME),
        help=f"a kind of event, may be repeated; default: {', '.join(_DEFAULT)}",
    )
    parser.add_argument(
        "-n", "--lines", type=_lines, default=10, metavar="N", help="begin with the newest N"
    )


def run(args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """Never returns: Ctrl-C ends it."""
    path = settings.db_path
    database.check(path)
    kinds = [_BY_NAME[name] for name in args.kind or _DEFAULT]
    last_ids, file_id = _newest(path, kinds), store_file.identity(path)
    begun = [row for kind in kinds for row in _before(path, kind, last_ids[kind], args.lines)]
    begun.sort(key=lambda pair: pair[1]["received_at"])
    _show(screen, begun[len(begun) - args.lines :] if args.lines else [])
    while True:
        try:
            if store_file.identity(path) != file_id:  # moved aside, and a new one begun
                file_id, last_ids = store_file.identity(path), dict.fromkeys(kinds, 0)
            rows = list(_after(path, last_ids))
        except sqlite3.OperationalError:
            rows = []  # the service is just making the file anew
        _show(screen, sorted(rows, key=lambda pair: pair[1]["received_at"]))
        if len(rows) < MAX_ROWS:
            time.sleep(POLL_S)


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise argparse.ArgumentTypeError("a whole number from 0 to 10000")
    return int(text)


Row = tuple[type[Event], dict[str, Any]]


def _newest(path: Path, kinds: list[type[Event]]) -> dict[type[Event], int]:
    return {
        kind: database.read(path, f"SELECT coalesce(max(id), 0) FROM {_table(kind)}")[0][0]
        for kind in kinds
    }


def _before(path: Path, kind: type[Event], last_id: int, limit: int) -> Iterator[Row]:
    sql = f"SELECT * FROM {_table(kind)} WHERE id <= ? ORDER BY id DESC LIMIT ?"
    yield from reversed(_rows(path, kind, sql, last_id, limit))


def _after(path: Path, last_ids: dict[type[Event], int]) -> Iterator[Row]:
    for kind, last_id in last_ids.items():
        sql = f"SELECT * FROM {_table(kind)} WHERE id > ? ORDER BY id LIMIT ?"
        for row in _rows(path, kind, sql, last_id, MAX_ROWS):
            last_ids[kind] = row[1]["id"]
            yield row


def _rows(path: Path, kind: type[Event], sql: str, *parameters: int) -> list[Row]:
    with database.reading(path) as connection:
        cursor = connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [(kind, dict(zip(names, row, strict=True))) for row in cursor]


def _table(kind: type[Event]) -> str:
    return str(kind._meta.table_name)


def _show(screen: Screen, rows: list[Row]) -> None:
    for kind, row in rows:
        if screen.is_json:
            metadata = row.pop("metadata")
            data = {name: value for name, value in row.items() if value is not None}
            if metadata is not None:
                data["metadata"] = decoded_metadata(metadata, is_raw=True)
            screen.data({"type": kind.type_name, "data": data})
        else:
            words = " ".join(filter(None, _summary(kind.type_name, row)))
            screen.say(f"{moment(row['created_at'], SECONDS)} {kind.type_name:<14} {words}")


def _summary(kind: str, row: Mapping[str, Any]) -> Iterator[str | None]:
    """What tells one event from the next."""
    if kind == "llm_trace":
        yield f"{row['provider']}/{row['model']} {row['status']}"
        yield f"{count(row['total_tokens'])} tokens {usd(row['cost_usd'])}"
        yield duration(row["latency_ms"])
        yield row["error_type"]
    elif kind == "error_event":
        yield f"{row['severity']} {row['error_type']}/{row['category']}:"
        yield cut(clean(row["message"]), MESSAGE_CHARACTERS)
    elif kind == "custom_event":
        yield row["name"]
        yield row["severity"]
        yield None if row["duration_ms"] is None else duration(row["duration_ms"])
    elif kind == "system_metric":
        yield f"cpu {percent(row['cpu_percent'])}, memory {percent(row['mem_percent'])},"
        yield f"disk {percent(row['disk_percent'])}"
    else:
        yield f"{row['name']} ({row['pid']}) {row['state']}"
        yield f"cpu {percent(row['cpu_percent'])}, {size(row['rss_bytes'])}"
    yield row.get("session_id")
