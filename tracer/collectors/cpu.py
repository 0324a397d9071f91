"""CPU of what limits us: a control group with a quota or fewer CPUs, else the whole host.

Kernel: proc_stat(5), admin-guide/cgroup-v2 `cpu.*`, cgroup-v1/cpuacct, scheduler/sched-bwc.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tracer import cgroup
from tracer.cgroup import Group, Groups
from tracer.collectors.base import Deltas, Growth, Reading, percent
from tracer.kernel_files import read_number, read_pairs, read_text

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Bound(NamedTuple):
    """A group that may use `cores`; `quota_at` is where its quota is set, if it has one."""

    group: Group
    cores: float
    quota_at: Path | None


class Cpu:
    """`group` is the one whose figures were reported last; None: the host's."""

    def __init__(
        self,
        root: Path,
        groups: Groups,
        mode: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group: Group | None = None
        self._root = root
        self._groups = groups
        self._mode = mode
        self._deltas = Deltas(clock)

    def collect(self) -> Reading:
        host, cpus = _host_counters(self._root)
        bound = None if self._mode == "host" else self._bound(cpus)
        counters: dict[str, float | None] = {**host}
        if bound is not None:
            counters |= _group_counters(bound, self._groups)
        growth = self._deltas.update(counters)
        self.group = bound and bound.group
        values = _of_host(growth, cpus) if bound is None else _of_group(growth, bound)
        return Reading(
            {
                **values,
                "cpu_steal_percent": growth.percent("steal", of=_all_ticks(growth)),
                "cpu_scope": _scope(bound, host),
                **_load(self._root),
            },
            {"cpu_limit_at": bound and str(bound.quota_at or bound.group.directory)},
        )

    def _bound(self, cpus: int) -> Bound | None:
        """The limit that holds, or, where the group is asked for, the group without one."""
        group = self._groups.of("cpu", "cpu.max")
        cpuset_group = self._groups.of("cpuset", "cpuset.cpus.effective")
        quota = group and cgroup.cpu_quota(group)
        allowed = (cpuset_group and cgroup.cpuset_size(cpuset_group)) or cpus
        if quota is not None and group is not None and (not cpus or quota.amount < cpus):
            cores = min(quota.amount, allowed) if allowed else quota.amount
            return Bound(group._replace(directory=quota.directory), cores, quota.directory)
        known = group or cpuset_group
        is_wanted = self._mode == "cgroup" or 0 < allowed < cpus
        return Bound(known, allowed, None) if known is not None and is_wanted and allowed else None


def _host_counters(root: Path) -> tuple[dict[str, float], int]:
    """Ticks of all CPUs together, and how many CPUs there are. `user` includes `guest`."""
    lines = (read_text(root / "proc/stat") or "").splitlines()
    cpus = sum(1 for line in lines if line[:3] == "cpu" and line[3:4].isdigit())
    words = lines[0].split() if lines else []
    if words[:1] != ["cpu"] or len(words) < 5:
        return {}, cpus
    ticks = [int(word) for word in words[1:]] + [0] * 8
    user, nice, system, idle, iowait, irq, softirq, steal = ticks[:8]
    return {
        "user": user + nice,
        "system": system + irq + softirq,
        "idle": idle + iowait,  # iowait alone may shrink
        "steal": steal,
    }, cpus


def _group_counters(bound: Bound, groups: Groups) -> dict[str, float | None]:
    """CPU seconds and throttling of the group."""
    folder = bound.group.directory
    stat = read_pairs(folder / "cpu.stat")
    periods = {
        "periods": stat.get("nr_periods"),
        "throttled": stat.get("nr_throttled"),
    }
    if bound.group.version == 2:
        names = {"used": "usage_usec", "group_user": "user_usec", "group_system": "system_usec"}
        return periods | {
            ours: None if (value := stat.get(theirs)) is None else value / 1e6
            for ours, theirs in names.items()
        }
    account = groups.of("cpuacct", "cpuacct.usage")
    if account is None:
        return dict(periods)
    if (folder / "cpuacct.usage").exists():  # cpu,cpuacct mounted as one
        account = account._replace(directory=folder)
    used_ns = read_number(account.directory / "cpuacct.usage")
    split = read_pairs(account.directory / "cpuacct.stat")
    return periods | {
        "used": None if used_ns is None else used_ns / 1e9,
        "group_user": _ticks_s(split.get("user")),
        "group_system": _ticks_s(split.get("system")),
    }


def _ticks_s(ticks: int | None) -> float | None:
    return None if ticks is None else ticks / TICKS_PER_S


def _all_ticks(growth: Growth) -> float:
    names = ("user", "system", "idle", "steal")
    return sum(growth[name] for name in names) if all(name in growth for name in names) else 0.0


def _of_host(growth: Growth, cpus: int) -> dict[str, Any]:
    total = _all_ticks(growth)
    values: dict[str, Any] = {"cpu_cores_limit": cpus or None, "cpu_throttled_percent": None}
    for name in ("user", "system", "idle"):
        values[f"cpu_{name}_percent"] = growth.percent(name, of=total)
    if total > 0:
        busy = growth["user"] + growth["system"]
        values["cpu_percent"] = percent(busy, total)
        values["cpu_cores_used"] = round(busy / total * cpus, 3)
    return values


def _of_group(growth: Growth, bound: Bound) -> dict[str, Any]:
    """Not cut at 100 %: a burst may take more than the quota of one interval."""
    capacity_s = growth.seconds * bound.cores
    used = growth.get("used")
    values: dict[str, Any] = {
        "cpu_percent": growth.percent("used", of=capacity_s),
        "cpu_user_percent": growth.percent("group_user", of=capacity_s),
        "cpu_system_percent": growth.percent("group_system", of=capacity_s),
        "cpu_cores_limit": round(bound.cores, 3),
        "cpu_throttled_percent": None,
    }
    if used is not None and growth.seconds > 0:
        values["cpu_cores_used"] = round(used / growth.seconds, 3)
        values["cpu_idle_percent"] = max(0.0, round(100 - values["cpu_percent"], 2))
    if bound.quota_at is not None and {"periods", "throttled"} <= growth.keys():
        periods = growth["periods"]  # none while the group sleeps: nothing was throttled
        values["cpu_throttled_percent"] = percent(growth["throttled"], periods) if periods else 0.0
    return values


def _scope(bound: Bound | None, host: dict[str, float]) -> str | None:
    if bound is not None:
        return bound.group.scope
    return "host" if host else None


def _load(root: Path) -> dict[str, float | None]:
    """proc_loadavg(5); of the host in any scope."""
    match = re.match(r"([\d.]+) ([\d.]+) ([\d.]+) ", read_text(root / "proc/loadavg") or "")
    if match is None:
        return {}
    return dict(zip(("load_1m", "load_5m", "load_15m"), map(float, match.groups()), strict=True))
