"""How full the volume is."""

import os
from pathlib import Path
from typing import Final

LITTLE_SPACE_BYTES: Final = 1 << 20
"""With less than this free a volume counts as full."""


def free_bytes(folder: Path) -> int:
    """What we may still write to the volume: without the blocks reserved for root. May raise."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize


def used_percent(folder: Path) -> float:
    """Share of the volume in use, as `df` counts it. Raises OSError."""
    used, available = _used_and_available(folder)
    return 100 * used / (used + available) if used + available else 0.0


def bytes_above(folder: Path, max_percent: float) -> int:
    """How much more than `max_percent` of the volume is in use; 0 when less. Raises OSError."""
    used, available = _used_and_available(folder)
    return max(0, round(used - (used + available) * max_percent / 100))


def _used_and_available(folder: Path) -> tuple[int, int]:
    volume = os.statvfs(folder)
    used = (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    return used, volume.f_bavail * volume.f_frsize
