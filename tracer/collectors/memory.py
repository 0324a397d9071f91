"""Memory of what limits us: a control group with a limit below the host's, else the whole host.

Kernel: proc_meminfo(5), admin-guide/cgroup-v2 `memory.*`, cgroup-v1/memory. The working set is
usage less the file cache that could go at once, as cAdvisor and Docker count it.
"""

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from tracer import cgroup
from tracer.cgroup import UNLIMITED, Group, Groups
from tracer.collectors.base import Deltas, Reading, percent
from tracer.kernel_files import read_number, read_pairs

MAX_GROUPS: Final = 256
"""Groups below ours that are looked at, so that a pass stays short."""


class Memory:
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
        info = {name: kib * 1024 for name, kib in read_pairs(self._root / "proc/meminfo").items()}
        total = info.get("MemTotal")
        group, limit_bytes = (None, None) if self._mode == "host" else self._limited(total)
        self.group = group
        vmstat_kills = read_pairs(self._root / "proc/vmstat").get("oom_kill")
        if group is None:
            values, kills = _of_host(info), vmstat_kills
        else:
            values, kills = _of_group(group, limit_bytes), _oom_kills(group)
        values["mem_scope"] = group.scope if group else "host" if info else None
        growth = self._deltas.update(
            {f"{group and group.directory}": kills, "host kills": vmstat_kills}
        )
        values["oom_kills"] = growth.get(f"{group and group.directory}")
        return Reading(
            values,
            {
                # Of any group: it may tell why a process outside of ours is gone.
                "host_oom_kills": growth.get("host kills"),
                "mem_limit_at": group and str(group.directory),
            },
        )

    def _limited(self, total: int | None) -> tuple[Group | None, int | None]:
        """The group that sets the limit, and its bytes; where the group is asked for, the group
        without one.
        """
        group = self._groups.of("memory", "memory.current")
        limit = group and cgroup.memory_limit(group)
        if group is not None and limit is not None and (total is None or limit.amount < total):
            return group._replace(directory=limit.directory), int(limit.amount)
        return (group if self._mode == "cgroup" else None), None


def _of_host(info: dict[str, int]) -> dict[str, Any]:
    total, available = info.get("MemTotal"), info.get("MemAvailable")
    swap, swap_free = info.get("SwapTotal"), info.get("SwapFree")
    values: dict[str, Any] = {
        "mem_rss_bytes": info.get("AnonPages"),
        "mem_available_bytes": available,
        "mem_total_bytes": total,
    }
    if swap is not None and swap_free is not None:
        values["swap_used_bytes"] = max(0, swap - swap_free)
    if total and available is not None:
        used = max(0, total - available)
        values |= {"mem_used_bytes": used, "mem_percent": percent(used, total)}
    return values


def _of_group(group: Group, limit_bytes: int | None) -> dict[str, Any]:
    folder = group.directory
    stat = read_pairs(folder / "memory.stat")
    if group.version == 2:
        usage = read_number(folder / "memory.current")
        anonymous, inactive = stat.get("anon"), stat.get("inactive_file")
        swap = read_number(folder / "memory.swap.current")
    else:
        usage = read_number(folder / "memory.usage_in_bytes")
        # Without `total_` they leave out the groups below.
        anonymous, inactive = stat.get("total_rss"), stat.get("total_inactive_file")
        if anonymous is not None and anonymous >= 2 * UNLIMITED:  # an old kernel's underflow
            anonymous = None
        both = read_number(folder / "memory.memsw.usage_in_bytes")
        swap = None if both is None or usage is None else max(0, both - usage)
    values: dict[str, Any] = {
        "mem_rss_bytes": anonymous,
        "mem_total_bytes": limit_bytes,
        "swap_used_bytes": swap,
    }
    if usage is not None and inactive is not None:
        used = max(0, usage - inactive)  # the two are not read at the same instant
        values["mem_used_bytes"] = used
        if limit_bytes:
            values["mem_available_bytes"] = max(0, limit_bytes - used)
            values["mem_percent"] = percent(used, limit_bytes)
    return values


def _oom_kills(group: Group) -> int | None:
    """v2 adds up what happened below; v1 counts each kill at the victim's own group."""
    if group.version == 2:
        return read_pairs(group.directory / "memory.events").get("oom_kill")
    files = islice(group.directory.rglob("memory.oom_control"), MAX_GROUPS)
    counts = [read_pairs(path).get("oom_kill") for path in files]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
