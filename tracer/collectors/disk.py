"""The volume of the database: its space, and the I/O of its device (statvfs(3), iostats)."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tracer.collectors.base import Deltas, Growth, Reading, percent
from tracer.kernel_files import read_text

SECTOR_BYTES: Final = 512
"""In diskstats, whatever the device says its sectors are."""


class Disk:
    """`folder` lies on the volume."""

    def __init__(
        self, root: Path, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._root = root
        self._folder = folder
        self._deltas = Deltas(clock)

    def collect(self) -> Reading:
        growth = self._deltas.update(self._counters())
        return Reading({**_space(self._folder), **_io(growth)})

    def _counters(self) -> dict[str, float | None]:
        """One row only: a disk holds the sums of its partitions, and dm those of what is below."""
        device = self._device()
        for line in (read_text(self._root / "proc/diskstats") or "").splitlines():
            fields = line.split()
            if len(fields) > 9 and f"{fields[0]}:{fields[1]}" == device:
                return {"read": int(fields[5]), "write": int(fields[9])}
        return {}

    def _device(self) -> str:
        """`major:minor`. File systems of several devices have a number of their own: then it is
        the device that was mounted.
        """
        number = self._folder.stat().st_dev
        device = f"{os.major(number)}:{os.minor(number)}"
        if os.major(number):
            return device
        for line in (read_text(self._root / "proc/self/mountinfo") or "").splitlines():
            left, _, right = line.partition(" - ")
            source = right.split()[1:2]
            if left.split()[2:3] == [device] and source and source[0].startswith("/dev/"):
                mounted = Path(source[0]).stat().st_rdev
                return f"{os.major(mounted)}:{os.minor(mounted)}"
        return device


def _space(folder: Path) -> dict[str, Any]:
    """As `df` counts: blocks reserved for root are neither used nor free."""
    volume = os.statvfs(folder)
    used = (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    free = volume.f_bavail * volume.f_frsize
    return {
        "disk_total_bytes": volume.f_blocks * volume.f_frsize,
        "disk_used_bytes": used,
        "disk_free_bytes": free,
        "disk_percent": percent(used, used + free) if used + free else None,
    }


def _io(growth: Growth) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("read", "write"):
        sectors = growth.get(name)
        if sectors is not None and growth.seconds > 0:
            size_bytes = int(sectors) * SECTOR_BYTES
            values[f"disk_{name}_bytes"] = size_bytes
            values[f"disk_{name}_bytes_per_s"] = round(size_bytes / growth.seconds, 1)
    return values
