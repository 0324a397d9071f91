"""An error while its lines are gathered, and what is told of it."""

from typing import Any, Final

import msgspec

RUN_IDLE_MS: Final = 120_000
"""Retries are at most 30 s apart."""
RUN_LONGEST_MS: Final = 600_000
OTHER_MS: Final = 30_000

CATEGORIES: Final = {
    "rate_limit": "rate_limit",
    "overloaded": "provider_down",
    "server_error": "provider_down",
    "timeout": "timeout",
    "auth": "auth",
    "auth_permanent": "auth",
    "context_overflow": "context_length",
    "format": "malformed_response",
    "network": "network",
}
"""OpenClaw's reasons that say the category; others are left to the message."""


class Incident(msgspec.Struct, omit_defaults=True):
    """An error that may not be over. `*_at` are times of lines, `*_seen` of when they were read."""

    key: str
    id: str
    message: str
    subsystem: str
    first_at: int
    last_at: int
    first_seen: int
    last_seen: int
    severity: str = "error"
    run_id: str | None = None
    session_id: str | None = None
    trace: str | None = None
    count: int = 0
    lines: int = 0
    cause: str | None = None
    provider: str | None = None
    model: str | None = None
    detail: dict[str, Any] = {}
    lane_ends: list[str] = []

    @property
    def is_of_model(self) -> bool:
        """Whether a call of a model failed."""
        return self.cause is not None

    def is_over(self, now: int) -> bool:
        """Whether no more lines are waited for. Lines of yesterday may be read only now."""
        age_ms = now - self.first_seen
        if self.run_id is None and not self.is_of_model:
            return age_ms >= OTHER_MS
        return age_ms >= RUN_LONGEST_MS or now - self.last_seen >= RUN_IDLE_MS

    def add_line(self, at: int, seen: int) -> None:
        """One line more."""
        self.lines += 1
        self.last_at = max(at, self.last_at)
        self.last_seen = seen

    def event(self) -> dict[str, Any]:
        """The error_event, in our own wire format, without its identity."""
        names = {"run_id": self.run_id, "reason": self.cause, "otel_trace_id": self.trace}
        return {
            "error_type": "llm_error" if self.is_of_model else "system_error",
            "category": CATEGORIES.get(self.cause or ""),
            "message": self.message,
            "severity": self.severity,
            "timestamp": self.first_at,
            "provider": self.provider,
            "model": self.model,
            "session_id": self.session_id,
            "metadata": {
                "source": "log",
                "subsystem": self.subsystem,
                "count": max(1, self.count),
                "lines": self.lines,
                "last_at": self.last_at,
                **{name: value for name, value in names.items() if value is not None},
                **self.detail,
            },
        }
