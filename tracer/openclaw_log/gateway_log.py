"""One gateway's log as a whole: what phase it is in, what is open, what is worth an event."""

import re
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tracer.events import CustomEvent, ErrorEvent, Event
from tracer.openclaw_log import patterns
from tracer.openclaw_log.incident import Incident
from tracer.openclaw_log.incidents import MODEL_EVENTS, Incidents
from tracer.openclaw_log.lines import CONSOLE, Line, parse

NAMESPACE: Final = uuid.UUID("b3c9fd0e-5a4b-5f43-9c59-8f6f2f2d7a11")

_RUNNING: Final = "running"
_STARTING: Final = "starting"
_STOPPING: Final = "stopping"
_STOPPED: Final = "stopped"

_WS_CLOSED = re.compile(r"closed before connect\b")
_WS_REFUSED = re.compile(r"unauthorized\b.*? reason=(?P<reason>\w+)")
_CONNECTION = re.compile(r"\bconn=([0-9a-f]{8})")
_NOT_PARSED = re.compile(r"(?:✗ )?parse(?:-error|/handle error)\b")
_REMEMBERED_CONNECTIONS: Final = 64
_JSON_START: Final = b'{"0":'


class Found(NamedTuple):
    """An event in our own wire format, without values that are None."""

    kind: type[Event]
    event: dict[str, Any]


class GatewayLog:
    """Fed with the lines of one gateway, in order. Its state can be saved and loaded as JSON."""

    def __init__(self) -> None:
        self._phase: str | None = None
        self._last_at = 0
        self._last_line: Line | None = None
        self._incidents = Incidents()
        self._connections: list[str] = []

    def dump(self) -> dict[str, Any]:
        """The state, ready for JSON."""
        return {
            "phase": self._phase,
            "last_at": self._seen_at(),
            "connections": self._connections,
            **self._incidents.dump(),
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """What `dump` gave. Raises msgspec.ValidationError."""
        self._incidents.load(dumped)
        self._phase = dumped.get("phase")
        self._last_at = dumped.get("last_at", 0)
        self._connections = list(dumped.get("connections", []))

    def feed(self, text: bytes, where: str, now: int) -> list[Found] | None:
        """The events of one line; `where` is its place, the same when it is read again.

        None when the line is not understood. `now` stands in where it has no time.
        """
        line = parse(text)
        if line is None and (restart := text.rfind(_JSON_START)) > 0:
            line = parse(text[restart:])  # the writer was killed within a line, another went on
        if line is None or line.subsystem.split("/")[0] not in patterns.KNOWN_ROOTS:
            return None
        if line.level in ("INFO", "DEBUG", "TRACE") and line.subsystem == CONSOLE:
            return []  # may be what the model answered
        if not line.is_warning and patterns.room(line.subsystem)[0] not in patterns.RULES:
            self._last_line = line
            return []
        at = line.at_ms(now)
        self._incidents.now = now
        found = list(self._read(line, at, f"{where}:{at}"))
        self._last_line = line
        return found

    def _seen_at(self) -> int:
        """When the last line was written."""
        return self._last_line.at_ms(self._last_at) if self._last_line else self._last_at

    def over(self, now: int) -> list[Found]:
        """Errors whose last line is long ago."""
        self._incidents.now = now
        return [_error(incident) for incident in self._incidents.over()]

    def _read(self, line: Line, at: int, line_id: str) -> Iterator[Found]:
        if line.is_warning:
            fields = line.fields()
            if isinstance(fields.get("event"), str) and fields["event"] in MODEL_EVENTS:
                incidents = self._incidents.model_failure(line, fields, at, line_id)
                yield from map(_error, incidents)
                return
        key, channel = patterns.room(line.subsystem)
        hit = patterns.find(key, line.message)
        if hit is not None:
            rule, caught = hit
            if channel is not None:
                caught["channel"] = channel
            yield from self._known(rule, caught, line, at, line_id)
            if rule.name in (patterns.START, patterns.SHUTDOWN):  # and its runs with it
                yield from map(_error, self._incidents.all_of_models("gateway stopped"))
        elif line.is_warning:
            yield from map(_error, self._unknown_error(line, at, line_id, key, channel))

    def _known(
        self, rule: patterns.Rule, caught: dict[str, str], line: Line, at: int, line_id: str
    ) -> Iterator[Found]:
        if rule.name == "gateway.liveness_warning":
            for incident in self._incidents.gathered(f"event:{rule.name}", line, at, line_id):
                yield _error(incident)
            return
        yield from self._change_phase(rule.name, caught, line, at, line_id)
        yield _custom(rule.name, line, at, line_id, caught=caught, severity=rule.severity)
        if rule.severity == "error":
            incidents = self._incidents.other(line, at, line_id, **caught)
            yield from map(_error, incidents)

    def _change_phase(
        self, name: str, caught: dict[str, str], line: Line, at: int, line_id: str
    ) -> Iterator[Found]:
        """The life of the gateway. A kill leaves no line: only the next start shows it."""
        is_start = name == patterns.START or ("pid" in caught and self._phase != _STARTING)
        if is_start and self._phase in (_STARTING, _RUNNING):
            yield self._crash(line, at, line_id)
        if name == patterns.START:
            self._phase = _STARTING
        elif name in (patterns.READY, patterns.LISTENING):
            if is_start:  # 2026.2 says nothing before it listens
                yield _custom(patterns.START, line, at, f"{line_id}:start", caught=caught)
            self._phase = _RUNNING
        elif name in (patterns.STOPPING, patterns.RESTARTING):
            self._phase = _STOPPING
        elif name in (patterns.SHUTDOWN, patterns.FAILED_START):
            self._phase = _STOPPED

    def _crash(self, line: Line, at: int, line_id: str) -> Found:
        event = {
            "trace_id": _event_id(line_id),
            "timestamp": at,
            "error_type": "crash",
            "category": "process_crash",
            "severity": "critical",
            "message": "the gateway starts, and no shutdown was logged since its last start",
            "metadata": {
                "source": "log",
                "subsystem": line.subsystem,
                "last_seen_at": self._seen_at(),
            },
        }
        return Found(ErrorEvent, event)

    def _unknown_error(
        self, line: Line, at: int, line_id: str, key: str, channel: str | None
    ) -> Iterator[Incident]:
        """Errors of every subsystem; warnings of the gateway's doors and of channels only."""
        if key in {"gateway", "gateway/ws"}:
            cause = self._door_cause(line)
            if cause == "":
                return iter(())
            if cause is not None:
                return self._incidents.gathered(f"door:{cause}", line, at, line_id, cause=cause)
        lane = self._incidents.lane_error(line, at, line_id)
        if lane is not None:
            return lane
        if line.subsystem == CONSOLE and patterns.CONSOLE_NOISE.match(line.message):
            return iter(())
        if line.message and (line.is_error or channel is not None):
            named = {"channel": channel} if channel is not None else {}
            return self._incidents.other(line, at, line_id, **named)
        return iter(())

    def _door_cause(self, line: Line) -> str | None:
        """Why a client was turned away; empty when that was said already, None if it was not."""
        connection = _CONNECTION.search(line.message)
        if _WS_CLOSED.match(line.message):
            if connection and connection[1] in self._connections:
                return ""
            return str(line.fields().get("cause") or "closed_before_connect")
        refused = _WS_REFUSED.match(line.message)
        if not refused and not _NOT_PARSED.match(line.message):
            return None
        if connection:
            known = [*self._connections, connection[1]]
            self._connections = known[-_REMEMBERED_CONNECTIONS:]
        return refused["reason"] if refused else "parse_error"


def _event_id(line_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, line_id))


def _custom(
    name: str,
    line: Line,
    at: int,
    line_id: str,
    *,
    caught: dict[str, str],
    severity: str | None = None,
) -> Found:
    duration_ms = caught.pop("duration_ms", None)
    event = {
        "trace_id": _event_id(line_id),
        "name": name,
        "timestamp": at,
        "session_id": line.session_id,
        "severity": severity,
        "duration_ms": duration_ms,
        "metadata": {"source": "log", "subsystem": line.subsystem, **caught},
    }
    if line.agent is not None:
        event["metadata"]["agent"] = line.agent  # type: ignore[index]
    return Found(CustomEvent, {n: v for n, v in event.items() if v is not None})


def _error(incident: Incident) -> Found:
    event = incident.event()
    event["trace_id"] = _event_id(incident.id)
    if incident.key.startswith("event:"):  # worth counting, no error
        event["name"] = incident.key.removeprefix("event:")
        for name in ("error_type", "message", "category", "provider", "model"):
            event.pop(name)
        return Found(CustomEvent, {n: v for n, v in event.items() if v is not None})
    return Found(ErrorEvent, {n: v for n, v in event.items() if v is not None})
