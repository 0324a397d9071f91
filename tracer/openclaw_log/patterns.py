"""What in the log is worth an event, by subsystem. To recognise one more text, add a line here.

The texts are those of 2026.2.12, 2026.4.29 and 2026.9.6. Named groups become metadata.
"""

import functools
import re
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """A line that begins like this is an event of that name."""

    name: str
    pattern: re.Pattern[str]
    severity: str | None = None


def _rule(name: str, pattern: str, severity: str | None = None) -> Rule:
    return Rule(name, re.compile(pattern), severity)


START: Final = "gateway.start"
READY: Final = "gateway.ready"
LISTENING: Final = "gateway.listening"
STOPPING: Final = "gateway.stopping"
RESTARTING: Final = "gateway.restarting"
SHUTDOWN: Final = "gateway.shutdown"
FAILED_START: Final = "gateway.start_failed"

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "gateway": (
        _rule(START, r"loading configuration(?:…|\.\.\.)"),
        _rule(LISTENING, r"http server listening \((?P<plugins>\d+) plugins?\b.*?(?P<startup_s>[\d.]+)s\)"),
        _rule(LISTENING, r"listening on ws://\S+ \(PID (?P<pid>\d+)\)"),
        _rule(READY, r"(?:gateway )?ready$"),
        _rule(STOPPING, r"received (?P<signal>SIG[A-Z0-9]+); shutting down"),
        _rule(RESTARTING, r"received (?P<signal>SIG[A-Z0-9]+); restarting"),
    ),
    "gateway/shutdown": (
        _rule(SHUTDOWN, r"(?:shutdown )?completed (?P<outcome>.{1,200}?) in (?P<duration_ms>\d+)ms"),
    ),
    "gateway/reload": (
        _rule("config.changed", r"config change detected; evaluating reload \((?P<paths>.*)\)"),
        _rule("config.applied", r"config hot reload applied \((?P<paths>.*)\)"),
        _rule("config.applied", r"config change applied \(dynamic reads: (?P<paths>.*)\)"),
        _rule("config.needs_restart", r"config change requires gateway restart \((?P<paths>.*?)\)"),
        _rule("config.needs_channel_reload", r"config change requires channel reload \((?P<paths>.*?)\)"),
        _rule("config.rejected", r"config reload skipped \(invalid config\): (?P<reason>.*)", "warning"),
        _rule("config.failed", r"config reload failed: (?P<reason>.*)", "error"),
    ),
    "openclaw": (  # of warning and above only: below it may be the model's answer
        _rule("config.anomaly", r"Config observe anomaly: (?P<reason>.*)", "warning"),
        _rule("config.restored", r"Config auto-restored from backup: (?P<reason>.*)", "warning"),
        _rule(FAILED_START, r"Gateway failed to start: (?P<reason>.*)", "error"),
    ),
    "channels": (
        _rule("channel.started", r"(?:\[(?P<account>[^]]+)\] )?starting provider"),
        _rule("channel.exited", r"(?:\[(?P<account>[^]]+)\] )?channel exited: (?P<reason>.*)", "error"),
        _rule("channel.restart_skipped", r"(?:\[(?P<account>[^]]+)\] )?auto-restart skipped, (?P<reason>.*)"),
        _rule("channel.restarting", r"(?:\[(?P<account>[^]]+)\] )?auto-restart attempt (?P<attempt>\d+)/\d+"),
        _rule("channel.gave_up", r"(?:\[(?P<account>[^]]+)\] )?giving up after (?P<attempt>\d+) restart", "error"),
        _rule("channel.restarting", r"(?:\[(?P<account>[^]]+)\] )?health-monitor: restarting \(reason: (?P<reason>[^)]*)\)"),
        _rule("message.received", r"Inbound message .{1,200}\((?P<chat_kind>\w+), (?P<chars>\d+) chars\)"),
    ),
    "send": (_rule("message.sent", r"(?P<channel>\w+) outbound send ok\b"),),
    "diagnostic": (_rule("gateway.liveness_warning", r"liveness warning: reasons=(?P<reasons>\S+)", "warning"),),
}  # fmt: skip

KNOWN_ROOTS: Final = frozenset(
    "admission agent agents auth bonjour browser canvas channels cron device-pair diagnostic "
    "discord exec gateway gmail-watcher hooks imessage mcp memory model-fallback models node-host "
    "openclaw plugins provider-transport-fetch reload secrets security session session-sqlite "
    "sessions shutdown signal skills slack sqlite state telegram tools update voice web "
    "whatsapp ws".split()
)
"""First parts of subsystem names. Nothing but others for long means a format nobody here knows."""

CONSOLE_NOISE = re.compile(
    r"\[openclaw\] (?:The CLI command failed|Reason:|Debug:|Try:|Help:)|FailoverError:|Run \"openclaw "
)
"""Lines of a failed command that repeat what the gateway has said."""


@functools.lru_cache(maxsize=256)
def room(subsystem: str) -> tuple[str, str | None]:
    """The key into `RULES` and, for channels, the channel's name."""
    parts = subsystem.split("/")
    if parts[0] == "gateway" and len(parts) > 2 and parts[1] == "channels":
        return "channels", parts[2]
    if parts[0] == "channels" and len(parts) > 1:
        return "channels", parts[1]
    if parts[-1] == "send" and len(parts) == 2:
        return "send", None
    return subsystem, None


def find(key: str, message: str) -> tuple[Rule, dict[str, str]] | None:
    """The rule that fits, and what its groups caught."""
    for rule in RULES.get(key, ()):
        match = rule.pattern.match(message)
        if match is not None:
            return rule, {name: text for name, text in match.groupdict().items() if text}
    return None
