"""How full the volume is."""

import os
from pathlib import Path
from typing import Final

LITTLE_SPACE_BYTES: Final = 1 << 20
"""With less than this free a volume counts as full."""


def free_bytes(folder: Path) -> int:
    """What we may still write, without the blocks reserved for root. Raises OSError."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize


def size_bytes(folder: Path) -> int:
    """The whole volume. Raises OSError."""
    volume = os.statvfs(folder)
    return volume.f_blocks * volume.f_frsize


def bytes_above(folder: Path, max_percent: float) -> int:
    """How much more than `max_percent` of the volume is in use; 0 when less. Raises OSError."""
    volume = os.statvfs(folder)
    used, available = volume.f_blocks - volume.f_bfree, volume.f_bavail
    excess_blocks = used - (used + available) * max_percent / 100
    return max(0, round(excess_blocks * volume.f_frsize))
