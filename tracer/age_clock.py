"""The time by which rows grow old: the wall clock, but never further than time was seen to pass.

A wall clock that jumps forward must not make a week of rows look a year old. So a leap ahead of the
kernel's uptime is held back until as much time has passed as rows are kept: by then the rows from
before are old enough by any clock. A clock that goes back is followed at once. What passes while
the machine is off cannot be told from a leap, and is held back the same way.
"""

from pathlib import Path
from typing import Final, NamedTuple

TOLERANCE_MS: Final = 60_000
"""What a clock may be set right by between two readings."""


class ClockState(NamedTuple):
    """What the next reading is compared with, also after a restart. Times in milliseconds.

    `age_at` is the time rows are measured by, `held_ms` how long it is still held back.
    """

    boot_id: str
    uptime_ms: int
    wall_at: int
    age_at: int
    held_ms: int


def advance(
    last: ClockState | None, *, wall_at: int, uptime_ms: int, boot_id: str, retention_ms: int
) -> ClockState:
    """The state after one more reading of the clocks."""
    if last is None:
        return ClockState(boot_id, uptime_ms, wall_at, wall_at, 0)
    passed_ms = max(0, uptime_ms - last.uptime_ms) if boot_id == last.boot_id else 0
    age_at, held_ms = last.age_at + passed_ms, max(0, last.held_ms - passed_ms)
    if wall_at - last.wall_at > passed_ms + TOLERANCE_MS:
        held_ms = retention_ms
    if not held_ms or wall_at <= age_at:
        age_at, held_ms = wall_at, 0
    return ClockState(boot_id, uptime_ms, wall_at, age_at, held_ms)


def read_uptime(proc: Path = Path("/proc")) -> tuple[str, int]:
    """Which boot this is, and the milliseconds since then, suspended time included (proc(5)).

    Raises OSError or ValueError where the kernel does not tell.
    """
    boot_id = (proc / "sys/kernel/random/boot_id").read_text().strip()
    uptime_s = (proc / "uptime").read_text().split()[0]
    return boot_id, round(float(uptime_s) * 1000)
