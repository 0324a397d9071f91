"""checks settings, database, addresses and endpoint, and says what the sidecar would do

Nothing is changed; the endpoint gets one empty batch. Exit code 1 when a check failed.
"""

import argparse
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from config.readers import Address
from config.settings import OLDER_SPELLINGS, Settings, declared
from tracer import parts, store_file
from tracer.cli import database, sidecar
from tracer.cli.exits import Exit, NothingThereError
from tracer.cli.screen import Screen
from tracer.cli.units import count, duration, percent, size
from tracer.encoders.batch import Batch
from tracer.encoders.native import SCHEMA_VERSION
from tracer.errors import StoreError
from tracer.quality import Quality
from tracer.timestamps import now_ms
from tracer.usage import Tokens

OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"


class Finding(NamedTuple):
    """The result of one check; `status` is one of the words above."""

    check: str
    status: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to use the network."""
    parser.add_argument("--offline", action="store_true", help="leave the endpoint alone")


def run(args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """All checks, also after one failed."""
    findings = [
        *_settings(settings),
        *_database(settings),
        *_addresses(settings),
        *_prices(settings),
        *_push(settings, is_offline=args.offline),
    ]
    is_ok = all(finding.status != FAILED for finding in findings)
    if screen.is_json:
        screen.data({"ok": is_ok, "checks": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            screen.say(f"{finding.status:<8} {finding.check:<10} {finding.text}")
    return Exit.OK if is_ok else Exit.FAILED


def _settings(settings: Settings) -> Iterator[Finding]:
    shown = {name: not field.metadata["secret"] for name, field in declared().items()}
    shown |= {older: shown[newer] for older, newer in OLDER_SPELLINGS.items()}
    files = {f"{name}_FILE": True for name, is_shown in shown.items() if not is_shown}
    changed = [
        f"{name}={os.environ[name]}" if is_shown else name
        for name, is_shown in {**shown, **files}.items()
        if name in os.environ
    ]
    yield Finding("settings", OK, f"agent {settings.agent_id}; {', '.join(changed) or 'defaults'}")
    for warning in settings.warnings:
        yield Finding("settings", WARNING, warning)


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.db_path
    folder = next(parent for parent in path.parents if parent.exists())
    try:
        database.check(path)
    except NothingThereError:
        if os.access(folder, os.W_OK | os.X_OK):
            yield Finding("database", OK, f"{path} would be created")
        else:
            yield Finding("database", FAILED, f"no permission to create {path} in {folder}")
    except StoreError as error:
        yield Finding("database", FAILED, str(error))
    else:
        rows = database.row_counts(path)
        text = f"{path}, {size(store_file.size_bytes(path))}, {count(rows.get('stored', 0))} rows"
        yield Finding("database", OK, f"{text}, {count(rows.get('unpushed', 0))} not pushed yet")
        if not os.access(path, os.W_OK) or not os.access(folder, os.W_OK | os.X_OK):
            yield Finding("database", FAILED, f"no permission to write {path}")
    usage = shutil.disk_usage(folder)
    used = 100 * usage.used / (usage.used + usage.free)
    status = WARNING if used >= settings.disk_max_percent else OK
    yield Finding("volume", status, f"{percent(used)} full, {size(usage.free)} free")
    days, most = settings.retention_days, size(settings.max_db_bytes)
    yield Finding("retention", OK, f"rows go after {days:g} days, or above {most}")


def _addresses(settings: Settings) -> Iterator[Finding]:
    if sidecar.is_running(settings.db_path):
        pid = sidecar.lock_holder(settings.db_path)
        name = f" (process {pid})" if pid is not None else ""
        yield Finding("instance", OK, f"the sidecar is running{name}, a second one would wait")
        try:
            health = sidecar.health(settings.bind, settings.api_key)
        except NothingThereError as error:
            yield Finding("address", FAILED, str(error))
        else:
            status = OK if health["status"] == "ok" else FAILED
            yield Finding("address", status, f"it answers, its health is {health['status']}")
        return
    yield Finding("instance", OK, "no sidecar has this database open")
    for address in settings.bind:
        problem = _problem(address)
        text = f"{address} is free" if problem is None else f"{address}: {problem}"
        is_optional = address.host == "::1" and "TRACE_BIND" not in os.environ
        failed = WARNING if is_optional else FAILED
        yield Finding("address", OK if problem is None else failed, text)


def _problem(address: Address) -> str | None:
    """Why one cannot listen there."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(tuple(address))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _prices(settings: Settings) -> Iterator[Finding]:
    prices = parts.build_prices(settings, Quality())
    prices.charge("", [""], Tokens(prompt=1), now_ms(), None)  # has the owner's table read
    problems = list(prices.warnings(datetime.now(UTC).date()))
    for problem in problems:
        yield Finding("prices", WARNING, problem)
    if not problems:
        yield Finding("prices", OK, settings.prices_path or "the shipped table")


def _push(settings: Settings, *, is_offline: bool) -> Iterator[Finding]:
    """The endpoint is named without path, user and query: they may be secrets."""
    if not settings.push_endpoint:
        yield Finding("push", OK, "nothing is pushed: TRACE_PUSH_ENDPOINT is empty")
        return
    url = urlsplit(settings.push_endpoint)
    where = f"{url.scheme}://{url.hostname or ''}{f':{url.port}' if url.port else ''}"
    every = duration(settings.push_interval * 1000)
    yield Finding("push", OK, f"to {where} as {settings.push_format} every {every}")
    if not is_offline:
        yield _ask(settings, where)


def _ask(settings: Settings, where: str) -> Finding:
    """Whether the endpoint takes an empty batch."""
    remote = parts.build_remote(settings)
    answer = remote.send(_empty_batch(settings), settings.push_timeout)
    remote.close()
    if answer.error is None:
        return Finding("endpoint", OK, f"{where} took an empty batch ({answer.http_status})")
    if answer.http_status in (400, 409, 422):
        text = f"{where} answers, and does not want an empty batch ({answer.http_status})"
        return Finding("endpoint", WARNING, text)
    return Finding("endpoint", FAILED, f"{where}: {answer.error}")


def _empty_batch(settings: Settings) -> Batch:
    batch_id = str(uuid.uuid4())
    if settings.push_format == "otlp":  # an empty request is no byte
        return Batch(batch_id, b"", [], False, "/v1/traces", "application/x-protobuf")
    body = msgspec.json.encode(
        {
            "schema_version": SCHEMA_VERSION,
            "batch_id": batch_id,
            "agent_id": settings.agent_id,
            "sent_at": now_ms(),
            "dropped": {},
            "events": [],
        }
    )
    return Batch(batch_id, body, [], False)
