"""Every environment variable, declared once: name, default, how it is read, help.

The README's table is made from these declarations.
"""

import dataclasses
import functools
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from config import readers
from tracer.errors import SettingsError

OLDER_SPELLINGS: Final = {
    "TRACER_PORT": "TRACE_PORT",
    "TRACER_PUSH_INTERVAL": "TRACE_PUSH_INTERVAL",
    "TRACER_PUSH_URL": "TRACE_PUSH_ENDPOINT",
    "TRACER_PUSH_API_KEY": "TRACE_PUSH_API_KEY",
    "TRACER_DB_PATH": "TRACE_DB_PATH",
    "TRACER_RETENTION_DAYS": "TRACE_RETENTION_DAYS",
    "TRACER_LOG_LEVEL": "TRACE_LOG_LEVEL",
}


def setting(
    default: str, read: Callable[[str], Any], help_text: str, *, secret: bool = False
) -> Any:
    """Declares a setting; the variable is `TRACE_` and the name in capitals.

    A secret is kept out of every text, and can be given as a file by `<NAME>_FILE`.
    """
    metadata = {"default": default, "read": read, "help": help_text, "secret": secret}
    return dataclasses.field(metadata=metadata, repr=not secret)


def one_of(*words: str) -> Callable[[str], str]:
    """Reads one of a few words."""

    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(", ".join(words[:-1]) + " or " + words[-1])
        return text.strip().lower()

    return read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one start. `warnings` are sentences for the log and `/health`."""

    warnings: tuple[str, ...] = ()

    bind: tuple[readers.Address, ...] = setting(
        "127.0.0.1, [::1]",
        readers.addresses,
        "addresses to listen on, comma-separated; one without a port gets that of `TRACE_PORT`; "
        "`[::1]` of the default is left out where the machine has no IPv6",
    )
    port: int = setting("9090", readers.port, "port of the addresses that name none")
    db_path: Path = setting(
        "/data/openclaw-trace.db",
        readers.path,
        "database file; its folder is made if missing",
    )
    log_level: str = setting(
        "info", one_of("debug", "info", "warning", "error"), "least severe log line written"
    )
    agent_id: str = setting(
        "",
        readers.plain,
        "identity put on every batch and on events that carry none; "
        "empty: `FLY_MACHINE_ID`, else the host name",
    )
    api_key: str = setting(
        "", readers.plain, "bearer token for callers that are not on loopback", secret=True
    )
    allowed_hosts: tuple[str, ...] = setting(
        "", readers.names, "extra `Host` names accepted from callers on loopback"
    )
    max_text_bytes: int = setting(
        "16384",
        readers.size_bytes,
        "longest stored `input_text`, `output_text`, `message`, `stack_trace` in UTF-8 bytes",
    )
    max_body_bytes: int = setting(
        "8MB", readers.size_bytes, "longest request body, also after decompression"
    )
    queue_capacity: int = setting("512", readers.count, "events waiting for the writer")
    batch_size: int = setting("50", readers.count, "most events in one transaction")
    batch_window: float = setting(
        "500ms", readers.positive_duration_s, "longest wait for a transaction to fill"
    )
    redact: bool = setting("on", readers.switch, "replace secrets in stored text")
    metrics_interval: float = setting("15s", readers.positive_duration_s, "time between samples")
    metrics_scope: str = setting(
        "auto", one_of("auto", "cgroup", "host"), "whose resources are sampled"
    )
    watch_process: str = setting(
        "auto",
        readers.watched_process,
        "the agent to watch: `auto`, `pid:FILE`, `port:N` or a regular expression on the command "
        "line; empty: none",
    )
    dns_probes: tuple[str, ...] = setting(
        "api.anthropic.com,api.openai.com",
        readers.names,
        "names resolved each minute, comma-separated; empty: none",
    )
    push_endpoint: str = setting(
        "",
        readers.url,
        "URL that receives batches: https, or http to loopback and private networks; "
        "empty: nothing is pushed",
        secret=True,
    )
    push_api_key: str = setting(
        "", readers.plain, "sent to it as `Authorization: Bearer …`", secret=True
    )
    push_interval: float = setting("5m", readers.positive_duration_s, "time between push passes")
    push_format: str = setting("json", one_of("json", "otlp"), "`json` or `otlp`")
    push_max_bytes: int = setting("5MB", readers.size_bytes, "largest body before compression")
    push_gzip: bool = setting("off", readers.switch, "compress pushed bodies")
    push_timeout: float = setting(
        "30s", readers.positive_duration_s, "one request, name resolution to last byte"
    )
    push_proxy: str = setting("", readers.url, "proxy URL for pushing", secret=True)
    push_ca_file: str = setting("", readers.plain, "certificates of a private authority (PEM)")
    push_breaker: int = setting("5", readers.count, "failed passes in a row that open the circuit")
    retention_days: float = setting(
        "7", readers.days, "age at which pushed rows go; without a push endpoint, all rows"
    )
    max_db_bytes: int = setting(
        "100MB", readers.size_bytes, "database size above which the oldest rows go"
    )
    min_db_bytes: int = setting(
        "16MB", readers.size_bytes, "the disk threshold never shrinks the database below this"
    )
    disk_max_percent: float = setting(
        "80", readers.percent, "volume usage above which the oldest rows go"
    )
    cleanup_interval: float = setting(
        "5m", readers.positive_duration_s, "time between clean-up passes"
    )
    checkpoint_interval: float = setting(
        "10m", readers.positive_duration_s, "time between WAL checkpoints"
    )
    wal_max_bytes: int = setting(
        "50MB", readers.size_bytes, "WAL size above which a checkpoint restarts it"
    )
    log_path: str = setting(
        "", readers.plain, "gateway log to follow: a file, or a glob for daily files; empty: off"
    )
    prices_path: str = setting("", readers.plain, "JSON file of prices that adds and overrides")
    shutdown_timeout: float = setting(
        "4s", readers.positive_duration_s, "whole budget of drain, final push and close"
    )
    synchronous: str = setting(
        "full",
        one_of("full", "normal"),
        "SQLite `synchronous`: with `full` a commit survives power loss",
    )


def declared() -> dict[str, dataclasses.Field[Any]]:
    """Variable name → declaration, in the order of declaration."""
    fields = dataclasses.fields(Settings)
    return {f"TRACE_{f.name.upper()}": f for f in fields if "read" in f.metadata}


def shown(settings: Settings) -> dict[str, Any]:
    """Variable → value as JSON has it; of a secret only whether it is set."""
    return {name: _shown(getattr(settings, f.name), f) for name, f in declared().items()}


def _shown(value: Any, field: dataclasses.Field[Any]) -> Any:
    if field.metadata["secret"]:
        return "(set, not shown)" if value else ""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_shown(part, field) for part in value]
    return value if isinstance(value, bool | int | float) else str(value)


def load(environ: Mapping[str, str]) -> Settings:
    """Reads all settings. Raises SettingsError: one line naming variable, value, what is accepted.

    An empty variable counts as not set, unless its default is a text: then empty is its value.
    """
    values = {
        field.name: _read(field, *_sent(name, field, environ)) for name, field in declared().items()
    }
    values["bind"] = tuple(
        address._replace(port=address.port or values["port"]) for address in values["bind"]
    )
    values["agent_id"] = values["agent_id"] or environ.get("FLY_MACHINE_ID") or socket.gethostname()
    return Settings(warnings=tuple(_unknown(environ)), **values)


secret_environ: Final[dict[str, str]] = {}
"""What `current` took out of the environment, for a process that replaces this one."""


@functools.cache
def current() -> Settings:
    """The settings of this process, read once; ends the process with one line if it cannot.

    Secrets are dropped from the environment then: no child, and no dump of it, gets them.
    """
    try:
        return load(os.environ)
    except SettingsError as error:
        sys.exit(f"openclaw-trace: {error}")
    finally:
        secrets = [name for name, field in declared().items() if field.metadata["secret"]]
        for name in (*secrets, *(old for old, new in OLDER_SPELLINGS.items() if new in secrets)):
            if name in os.environ:
                secret_environ[name] = os.environ.pop(name)


def _sent(
    name: str, field: dataclasses.Field[Any], environ: Mapping[str, str]
) -> tuple[str, str | None]:
    """Which variable a value came from, and its text: the name, its file, an older spelling."""
    texts = (readers.plain, readers.names, readers.watched_process)
    keeps_empty = field.metadata["read"] in texts
    file_name = f"{name}_FILE"
    if environ.get(name, "").strip():
        return name, environ[name]
    if field.metadata["secret"] and environ.get(file_name, "").strip():
        return file_name, _read_file(file_name, environ[file_name])
    if name in environ and keeps_empty:
        return name, ""
    for older, newer in OLDER_SPELLINGS.items():
        if newer == name and environ.get(older, "").strip():
            return older, environ[older]
    return name, None


def _read(field: dataclasses.Field[Any], name: str, text: str | None) -> Any:
    read = field.metadata["read"]
    if text is None:
        return read(field.metadata["default"])
    try:
        text.encode()
        return read(text)
    except UnicodeEncodeError:
        raise SettingsError(f"{name}={text!a} cannot be read: expected UTF-8") from None
    except ValueError as error:
        shown = "(not shown)" if field.metadata["secret"] else repr(text)
        raise SettingsError(f"{name}={shown} cannot be read: expected {error}") from None


def _read_file(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{name}={path!r} cannot be read: expected a text file ({error})"
        ) from None


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable with our prefix and not our name: perhaps it is misspelled."""
    secrets = [f"{name}_FILE" for name, f in declared().items() if f.metadata["secret"]]
    known = [*declared(), *secrets, *OLDER_SPELLINGS]
    sentences = []
    for name in sorted(environ):
        if name.startswith(("TRACE_", "TRACER_")) and name not in known:
            import difflib  # 0.2 MB that nobody else needs

            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            sentences.append(f"unknown setting {name}, the nearest known name is {nearest[0]}")
    return sentences
