"""What the sidecar reports of its own accord: once per change of state (contract section 3)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tracer.collectors.process_table import PAGE_BYTES
from tracer.reporter import Report
from tracer.watch import Watch

DISK_HYSTERESIS_PERCENT: Final = 2.0
"""The volume must be this much below the threshold before it can be reported again."""


class Alarm:
    """Raised once; again only after `calm` looks in a row found nothing. None says nothing."""

    def __init__(self, calm: int = 3) -> None:
        self._calm = calm
        self._quiet = calm
        self._is_raised = False

    def look(self, is_wrong: bool | None) -> bool:
        """Whether to report now."""
        if is_wrong is None:
            return False
        if not is_wrong:
            self._quiet += 1
            self._is_raised = self._is_raised and self._quiet < self._calm
            return False
        self._quiet = 0
        was_raised, self._is_raised = self._is_raised, True
        return not was_raised


class Detections:
    """Goes by the columns and facts of a pass. Used by the sampler's thread only."""

    def __init__(self, folder: Path, disk_max_percent: float, watch: Watch) -> None:
        self._folder = folder
        self._disk_max_percent = disk_max_percent
        self._watch = watch
        self._disk = Alarm(calm=1)
        self._dns = Alarm()
        self._network = Alarm()
        self._had_route = False

    def look(self, values: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Report]:
        """The reports of one pass."""
        yield from self._oom(values, facts)
        yield from self._gateway(facts)
        yield from self._volume(values)
        yield from self._names(facts)
        yield from self._route(facts)

    def _oom(self, values: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Report]:
        kills = values.get("oom_kills")
        if not kills:
            return
        metadata: dict[str, Any] = {"kills": kills, "scope": values.get("mem_scope")}
        likely = ""
        if (victim := facts.get("vanished")) is not None:
            metadata["largest_process_gone"] = {
                "pid": victim.pid,
                "name": victim.name,
                "rss_bytes": victim.rss_pages * PAGE_BYTES,
            }
            likely = f"; {victim.name} ({victim.pid}) was the largest to end since the last look"
        noun = "a process" if kills == 1 else f"{kills} processes"
        message = f"the kernel killed {noun} for lack of memory{likely}"
        yield Report("crash", "oom_kill", message, "critical", metadata)

    def _gateway(self, facts: Mapping[str, Any]) -> Iterator[Report]:
        if (table := facts.get("table")) is None:
            return
        report = self._watch.observe(
            table,
            facts.get("gateway"),
            oom_kills=facts.get("host_oom_kills"),
            uptime_ms=facts.get("gateway_uptime_ms"),
        )
        if report is not None:
            yield report

    def _volume(self, values: Mapping[str, Any]) -> Iterator[Report]:
        percent = values.get("disk_percent")
        if percent is None:
            return
        limit = self._disk_max_percent
        is_between = limit - DISK_HYSTERESIS_PERCENT < percent < limit
        if self._disk.look(None if is_between else percent >= limit):
            yield Report(
                "system_error",
                "disk_full",
                f"the volume of {self._folder} is {percent:g} % full",
                "error",
                {name: values[name] for name in ("disk_percent", "disk_free_bytes")},
            )

    def _names(self, facts: Mapping[str, Any]) -> Iterator[Report]:
        failed = facts.get("dns_failed")
        if self._dns.look(None if failed is None else bool(failed)) and failed:
            names = ", ".join(failed)
            yield Report(
                "system_error", "dns", f"cannot resolve {names}", "error", {"failed": failed}
            )

    def _route(self, facts: Mapping[str, Any]) -> Iterator[Report]:
        """A machine that never had a way out does without one."""
        has_route = facts.get("has_route")
        self._had_route = self._had_route or bool(has_route)
        if self._had_route and self._network.look(None if has_route is None else not has_route):
            yield Report("system_error", "network", "the default route is gone or its link down")
