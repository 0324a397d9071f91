"""Pressure stall information: the part of the interval in which some task had to wait.

Kernel: accounting/psi. Missing before 4.20 and with `psi=0`; v1 groups have none of their own. The
line `full` is always 0 for the CPU of the system, so `some` it is.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer.cgroup import Group
from tracer.collectors.base import Deltas, Reading
from tracer.kernel_files import read_text


class Pressure:
    """`cpu_group` and `mem_group` give the groups reported for these, None for the host."""

    def __init__(
        self,
        root: Path,
        cpu_group: Callable[[], Group | None],
        mem_group: Callable[[], Group | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._groups = {"cpu": cpu_group, "memory": mem_group, "io": mem_group}
        self._deltas = Deltas(clock)

    def collect(self) -> Reading:
        paths = {resource: self._path(resource) for resource in self._groups}
        growth = self._deltas.update({str(path): _some_total_s(path) for path in paths.values()})
        values: dict[str, Any] = {}
        for resource, path in paths.items():
            column = f"psi_{'mem' if resource == 'memory' else resource}_percent"
            values[column] = growth.percent(str(path), of=growth.seconds)
        return Reading(values)

    def _path(self, resource: str) -> Path:
        group = self._groups[resource]()
        if group is not None and group.version == 2:
            return group.directory / f"{resource}.pressure"
        return self._root / "proc/pressure" / resource


def _some_total_s(path: Path) -> float | None:
    match = re.search(r"^some .*\btotal=(\d+)", read_text(path) or "", re.M)
    return int(match[1]) / 1e6 if match else None
