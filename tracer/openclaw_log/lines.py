"""One line of OpenClaw's log, of any version from 2026.2 on, or of its console output.

The file holds JSON lines (tslog): the arguments of the log call under "0", "1", "2", the level and
the logger in `_meta`. Newer versions add `message` and the ids of trace and session.
"""

import functools
import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer import timestamps
from tracer.errors import EventError

CONSOLE: Final = "openclaw"
"""The subsystem of captured console output, also of short-lived commands: it may be what the model
answered.
"""

LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TEXT = re.compile(
    r"(?:(?P<time>\d{4}-\d\d-\d\dT[\d:.]{8,15}(?:Z|[+-]\d\d:?\d\d)?)\s+)?"
    r"\[(?P<subsystem>[a-z][\w./-]{0,60})\]\s+(?P<message>.+)"
)
_SHORT: Final = {
    "reload": "gateway/reload",
    "shutdown": "gateway/shutdown",
    "ws": "gateway/ws",
    **{
        name: f"channels/{name}"
        for name in ("telegram", "discord", "slack", "whatsapp", "signal", "imessage", "matrix")
    },
}
"""The console leaves out what comes before the last part of a subsystem."""


class _Meta(msgspec.Struct, gc=False):
    name: str
    level: str = msgspec.field(name="logLevelName")
    date: str | None = None


class _JsonLine(msgspec.Struct, gc=False):
    meta: _Meta = msgspec.field(name="_meta")
    time: str | None = None
    message: str | None = None
    trace_id: str | None = msgspec.field(name="traceId", default=None)
    session_id: str | None = None
    agent: str | None = msgspec.field(name="agent_id", default=None)
    arg_0: Raw = msgspec.field(name="0", default=Raw())
    arg_1: Raw = msgspec.field(name="1", default=Raw())
    arg_2: Raw = msgspec.field(name="2", default=Raw())


_decode = msgspec.json.Decoder(_JsonLine).decode


class Line:
    """What all formats have in common. `level` is empty where the format does not tell."""

    __slots__ = ("_args", "_time", "agent", "level", "message", "session_id", "subsystem", "trace")

    def __init__(
        self,
        subsystem: str,
        level: str,
        message: str,
        time: str | None,
        *,
        args: tuple[Raw, ...] = (),
        trace: str | None = None,
        session_id: str | None = None,
        agent: str | None = None,
    ) -> None:
        self.subsystem = subsystem
        self.level = level
        self.message = message
        self.trace = trace
        self.session_id = session_id
        self.agent = agent
        self._time = time
        self._args = args

    @property
    def is_warning(self) -> bool:
        """Warning or worse."""
        return self.level in ("WARN", "ERROR", "FATAL")

    @property
    def is_error(self) -> bool:
        """Error or worse."""
        return self.level in ("ERROR", "FATAL")

    def at_ms(self, default: int) -> int:
        """When it was written."""
        try:
            return default if self._time is None else timestamps.parse_ms(self._time)
        except EventError:
            return default

    def fields(self) -> dict[str, Any]:
        """The structured argument of the log call; empty where there is none."""
        for raw in self._args:
            if bytes(raw)[:1] == b"{":
                fields: dict[str, Any] = msgspec.json.decode(raw)
                return fields
        return {}


def parse(text: bytes) -> Line | None:
    """None for what is no line of OpenClaw's log."""
    if text[:1] == b"{":
        try:
            return _from_json(_decode(text))
        except (msgspec.DecodeError, RecursionError):
            return None
    return _from_text(text)


def _from_json(line: _JsonLine) -> Line | None:
    if line.meta.level not in LEVELS:
        return None
    subsystem = _subsystem(line.meta.name)
    args = (line.arg_1, line.arg_2)
    message = line.message
    if message is None:  # 2026.2: the last argument that is text; the first names the subsystem
        own = args if subsystem != CONSOLE else (line.arg_0, *args)
        message = next((text for raw in reversed(own) if (text := _text(raw)) is not None), "")
    return Line(
        subsystem,
        line.meta.level,
        message,
        line.time or line.meta.date,
        args=args,
        trace=line.trace_id,
        session_id=line.session_id,
        agent=line.agent,
    )


def _text(raw: Raw) -> str | None:
    return msgspec.json.decode(raw, type=str) if bytes(raw)[:1] == b'"' else None


@functools.lru_cache(maxsize=256)
def _subsystem(name: str) -> str:
    """`_meta.name` is JSON in a string, or plain `openclaw`."""
    if name[:1] != "{":
        return CONSOLE
    try:
        parts = msgspec.json.decode(name, type=dict[str, Any])
    except msgspec.DecodeError:
        return CONSOLE
    return str(parts.get("subsystem") or parts.get("module") or CONSOLE)


def _from_text(text: bytes) -> Line | None:
    """The console's form: perhaps a time, `[subsystem]`, text."""
    if b"[" not in text[:200]:
        return None
    match = _TEXT.match(_ANSI.sub("", text[:8192].decode(errors="replace")).strip())
    if match is None:
        return None
    subsystem = match["subsystem"]
    return Line(_SHORT.get(subsystem, subsystem), "", match["message"], match["time"])
