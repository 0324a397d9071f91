"""One error per run and cause, however many lines the retries wrote.

A model call that fails is tried again up to nine times and leaves about fifty lines. They are
gathered under the run until its outcome is logged or nothing came for a while. Other errors are
gathered by their text for half a minute. What is open can be saved and loaded as JSON.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tracer.openclaw_log.incident import OTHER_MS, Incident
from tracer.openclaw_log.lines import Line

MAX_OPEN: Final = 64
MAX_CLOSED: Final = 256
MAX_MESSAGE: Final = 2000
"""Characters kept of a message while its incident is open."""

MODEL_EVENTS: Final = frozenset(
    {
        "embedded_run_agent_end",
        "embedded_run_failover_decision",
        "model_fallback_decision",
        "model_fallback_chain_stopped",
        "auth_profile_failure_state_updated",
    }
)
_OUTCOMES: Final = ("model_fallback_decision", "model_fallback_chain_stopped")

LANE_ERROR = re.compile(
    r"lane task error: lane=(?P<lane>\S+) durationMs=\d+ error=\"(?P<error>.*)\""
)
_CHANGING = re.compile(r"[0-9a-f]{8,}(?:[-…][0-9a-f-]+)*|\d+")


class Incidents:
    """Open ones by key, and the keys of those that are told already."""

    def __init__(self) -> None:
        self._open: dict[str, Incident] = {}
        self._told: dict[str, int] = {}
        self.now = 0
        """The clock, set by the owner before lines are read."""

    def dump(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"open": msgspec.to_builtins(list(self._open.values())), "told": self._told}

    def load(self, dumped: dict[str, Any]) -> None:
        """What `dump` gave. Raises msgspec.ValidationError."""
        incidents = msgspec.convert(dumped.get("open", []), list[Incident])
        self._open = {incident.key: incident for incident in incidents}
        self._told = msgspec.convert(dumped.get("told", {}), dict[str, int])

    def over(self) -> Iterator[Incident]:
        """Takes out what is over."""
        done = [i for i in self._open.values() if i.is_over(self.now)]
        yield from (self._tell(incident) for incident in done)

    def all_of_models(self, outcome: str) -> Iterator[Incident]:
        """Takes out all failing runs: nothing more will be heard of them."""
        for incident in [i for i in self._open.values() if i.is_of_model]:
            incident.detail = {"outcome": outcome, **incident.detail}
            yield self._tell(incident)

    def model_failure(
        self, line: Line, fields: dict[str, Any], at: int, line_id: str
    ) -> Iterator[Incident]:
        """One line with a structured `event`; yields what is over by it."""
        event = fields["event"]
        cause = _text(fields, "failoverReason", "reason") or "error"
        run_id = _text(fields, "runId")
        session_id = _text(fields, "sessionId") or line.session_id
        if event == "model_fallback_chain_stopped" or "succe" in str(fields.get("decision")):
            # No failure of its own: the user, or another model, ended the retries.
            outcome = cause if event == "model_fallback_chain_stopped" else fields["decision"]
            for ended in self._of_run(run_id, session_id, line.trace):
                ended.detail = {**ended.detail, "outcome": outcome}
                ended.session_id = ended.session_id or session_id
                yield self._tell(ended)
            return
        run = run_id or line.trace or session_id or ""
        key = f"run:{run}:{cause}"
        incident = self._open.get(key)
        if incident is None:
            if key in self._told:
                return
            incident = self._begin(key, line, at, line_id, "")
            incident.run_id = run_id
            self._absorb_lanes(incident, run_id, session_id)
            yield from self._add(incident)
        incident.count += event == "embedded_run_agent_end"
        incident.add_line(at, self.now)
        incident.cause = cause
        _fill(incident, fields, session_id)
        if event in _OUTCOMES:
            yield self._tell(incident)

    def lane_error(self, line: Line, at: int, line_id: str) -> Iterator[Incident] | None:
        """A lane's failure repeats that of its run, in two lanes. None if the line is no such."""
        match = LANE_ERROR.match(line.message)
        if match is None:
            return None
        if line.trace is not None and any(True for _ in self._of_run(None, None, line.trace)):
            for incident in self._of_run(None, None, line.trace):
                incident.add_line(at, self.now)
            return iter(())
        if line.trace is not None and f"trace:{line.trace}" in self._told:
            return iter(())
        return self._lane_error(line, match, at, line_id)

    def _lane_error(
        self, line: Line, match: re.Match[str], at: int, line_id: str
    ) -> Iterator[Incident]:
        key = "lane:" + _normal(match["error"])
        incident = self._open.get(key)
        if incident is None:
            incident = self._begin(key, line, at, line_id, match["error"])
            incident.run_id = ""  # waits for the run's own line, which follows
            incident.count = 1
            yield from self._add(incident)
        incident.add_line(at, self.now)
        incident.lane_ends = [*incident.lane_ends, match["lane"].rpartition(":")[2]][-8:]

    def other(self, line: Line, at: int, line_id: str, **detail: Any) -> Iterator[Incident]:
        """An error of anything else, gathered by its text without what changes."""
        cause = detail.get("cause")
        yield from self.gathered(
            f"other:{line.subsystem}:{cause or _normal(line.message)}",
            line,
            at,
            line_id,
            **detail,
        )

    def gathered(
        self, key: str, line: Line, at: int, line_id: str, **detail: Any
    ) -> Iterator[Incident]:
        """Adds the line to the incident of this key."""
        incident = self._open.get(key)
        if incident is not None and at - incident.first_at >= OTHER_MS:
            yield self._tell(incident)
            incident = None
        if incident is None:
            incident = self._begin(key, line, at, line_id, line.message)
            incident.session_id = line.session_id
            incident.severity = {"FATAL": "critical", "WARN": "warning"}.get(line.level, "error")
            incident.detail = detail
            yield from self._add(incident)
        incident.count += 1
        incident.add_line(at, self.now)

    def _begin(self, key: str, line: Line, at: int, line_id: str, message: str) -> Incident:
        message = message[:MAX_MESSAGE]
        begun = (at, at, self.now, self.now)
        return Incident(key, line_id, message, line.subsystem, *begun, trace=line.trace)

    def _add(self, incident: Incident) -> Iterator[Incident]:
        if len(self._open) >= MAX_OPEN:
            yield self._tell(next(iter(self._open.values())))
        self._open[incident.key] = incident

    def _tell(self, incident: Incident) -> Incident:
        self._open.pop(incident.key, None)
        if incident.is_of_model:
            for key in (incident.key, f"trace:{incident.trace}"):
                self._told[key] = incident.last_at
            while len(self._told) > MAX_CLOSED:
                del self._told[next(iter(self._told))]
        return incident

    def _of_run(
        self, run_id: str | None, session_id: str | None, trace: str | None
    ) -> Iterator[Incident]:
        for incident in list(self._open.values()):
            if incident.is_of_model and (
                (run_id and incident.run_id == run_id)
                or (trace and incident.trace == trace)
                or (session_id and incident.session_id == session_id)
            ):
                yield incident

    def _absorb_lanes(self, incident: Incident, run_id: str | None, session: str | None) -> None:
        """Older versions log the lanes' failure before the run's, without a trace."""
        for lane in list(self._open.values()):
            if not lane.is_of_model and {run_id, session} & set(lane.lane_ends):
                del self._open[lane.key]
                incident.id, incident.first_at = lane.id, lane.first_at
                incident.lines, incident.message = lane.lines, lane.message
                incident.lane_ends = lane.lane_ends


def _fill(incident: Incident, fields: dict[str, Any], session_id: str | None) -> None:
    incident.session_id = incident.session_id or session_id
    incident.provider = incident.provider or _text(fields, "provider", "candidateProvider")
    incident.model = incident.model or _text(fields, "model", "candidateModel")
    said = _text(fields, "errorPreview", "rawErrorPreview", "error")
    if said and not incident.message:
        incident.message = said[:MAX_MESSAGE]
    elif not incident.message and incident.cause:
        incident.message = f"model call failed: {incident.cause}"
    found = {
        "status_code": fields.get("status"),
        "failure_kind": fields.get("providerRuntimeFailureKind"),
        "outcome": fields.get("fallbackStepFinalOutcome") or fields.get("decision"),
        "retries": fields.get("retryCount"),
    }
    incident.detail = incident.detail | {n: v for n, v in found.items() if v is not None}


def _text(fields: dict[str, Any], *names: str) -> str | None:
    return next((value for n in names if isinstance(value := fields.get(n), str) and value), None)


def _normal(message: str) -> str:
    return _CHANGING.sub("#", message[:300])
