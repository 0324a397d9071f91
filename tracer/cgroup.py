"""Finds the control group of this process, for each controller, and the limits on it (cgroups(7)).

Hosts differ by controller, not as a whole: on a hybrid one memory may be v1 and the rest v2. A file
that is missing, empty, forbidden or says `max` gives None, never 0.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tracer.kernel_files import read_number, read_pairs, read_text

REFRESH_S: Final = 600.0
UNLIMITED: Final = 2**62
"""v1 says "no limit" with 2^63 rounded down to a page, whatever the page size."""

DEFAULT_PERIOD_US: Final = 100_000


class Group(NamedTuple):
    """A directory of one hierarchy. `rule` says how it was found, for the log."""

    version: int
    directory: Path
    mount_point: Path
    rule: str

    @property
    def scope(self) -> str:
        """As in the `*_scope` columns."""
        return f"cgroup_v{self.version}"

    def lineage(self) -> Iterator[Path]:
        """The directory and its ancestors, up to the mount point: each may carry a limit."""
        for folder in (self.directory, *self.directory.parents):
            yield folder
            if folder == self.mount_point:
                return


class Limit(NamedTuple):
    """`amount` bytes, or cores, and the directory that sets it."""

    amount: float
    directory: Path


class Groups:
    """Remembers what was found, until the directory is gone or ten minutes have passed."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._found: dict[str, tuple[Group | None, float]] = {}

    def of(self, controller: str, probe: str) -> Group | None:
        """The group of this process; `probe` is the file that shows the controller works in v2."""
        now = self._clock()
        group, found_at = self._found.get(controller, (None, -REFRESH_S))
        is_gone = group is not None and not group.directory.is_dir()
        if is_gone or now - found_at >= REFRESH_S:
            group = find(controller, probe, self._root)
            self._found[controller] = (group, now)
        return group


class _Mount(NamedTuple):
    version: int
    root: str
    mount_point: str
    options: frozenset[str]


def find(controller: str, probe: str, root: Path) -> Group | None:
    """v1 where the controller has a line and a mount there; else v2 where `probe` exists, in the
    group or its nearest ancestor (`cgroup.controllers` only says what could be); else None.
    """
    mounts = list(_mounts(root))
    paths = _paths(root)
    if controller in paths:
        mount = _best(mount for mount in mounts if controller in mount.options)
        if mount is not None:
            return _locate(mount, paths[controller], root)
    mount = _best(mount for mount in mounts if mount.version == 2)
    if mount is not None and "" in paths:
        group = _locate(mount, paths[""], root)
        for folder in group.lineage():
            if (folder / probe).exists():
                return group._replace(directory=folder)
    return None


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        mount_point = _unescape(fields[4])
        if not mount_point.startswith(("/host/", "/hostfs/")):  # copies for tools that look in
            version = 2 if tail[0] == "cgroup2" else 1
            options = frozenset(tail[2].split(",")) if version == 1 else frozenset[str]()
            yield _Mount(version, _unescape(fields[3]), mount_point, options)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _paths(root: Path) -> dict[str, str]:
    """Controller → path; `""` is v2. A v1 path may hold colons, and `name=…` is no controller."""
    paths: dict[str, str] = {}
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers or number == "0":
            names = controllers.split(",")
            paths.update({n: path.removesuffix(" (deleted)") for n in names if "=" not in n})
    return paths


def _best(mounts: Iterator[_Mount]) -> _Mount | None:
    def rank(mount: _Mount) -> tuple[bool, int]:
        is_usual = mount.mount_point.startswith("/sys/fs/cgroup")
        return not is_usual, len(mount.mount_point)

    return min(mounts, key=rank, default=None)


def _locate(mount: _Mount, path: str, root: Path) -> Group:
    """Where in the mount a path of `/proc/self/cgroup` is. The mount may show a part of the tree
    only, and a process moved after the mount may lie outside of it.
    """
    top = root / mount.mount_point.lstrip("/")
    below = _below(mount.root, path)
    if below is not None and (top / below).is_dir():
        return Group(mount.version, top / below, top, "path below the root of the mount")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        directory = top.joinpath(*parts[start:])
        if directory.is_dir():
            return Group(mount.version, directory, top, "end of the path found in the mount")
    return Group(mount.version, top, top, "mount point")


def _below(mount_root: str, path: str) -> str | None:
    """The part of a path below the root of a mount; None when it lies elsewhere."""
    if mount_root != "/":
        if not f"{path}/".startswith(f"{mount_root}/"):
            return None
        path = path[len(mount_root) :]
    return None if ".." in path.split("/") else path.strip("/")


def memory_limit(group: Group) -> Limit | None:
    """The least limit of the group and its ancestors, those out of sight included where the kernel
    tells (v1 `hierarchical_memory_limit`). `memory.high` only slows down and is none.
    """
    name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
    limits = [Limit(read_number(folder / name) or 0, folder) for folder in group.lineage()]
    if group.version == 1:
        hidden = read_pairs(group.directory / "memory.stat").get("hierarchical_memory_limit", 0)
        limits.append(Limit(hidden, group.directory))
    finite = [limit for limit in limits if 0 < limit.amount < UNLIMITED]
    return min(finite, key=lambda limit: limit.amount, default=None)


def cpu_quota(group: Group) -> Limit | None:
    """The least quota of the group and its ancestors, in cores. Shares and weights are no limit."""
    read = _quota_v2 if group.version == 2 else _quota_v1
    quotas = [Limit(cores, folder) for folder in group.lineage() if (cores := read(folder))]
    return min(quotas, key=lambda quota: quota.amount, default=None)


def _quota_v2(folder: Path) -> float | None:
    words = (read_text(folder / "cpu.max") or "").split()
    if not words or not words[0].isdigit():
        return None
    has_period = len(words) > 1 and words[1].isdigit() and int(words[1]) > 0
    return int(words[0]) / (int(words[1]) if has_period else DEFAULT_PERIOD_US)


def _quota_v1(folder: Path) -> float | None:
    quota = read_number(folder / "cpu.cfs_quota_us")
    period = read_number(folder / "cpu.cfs_period_us") or DEFAULT_PERIOD_US
    return quota / period if quota is not None and quota > 0 and period > 0 else None


def cpuset_size(group: Group) -> int | None:
    """How many CPUs the group may run on."""
    names = (
        ("cpuset.cpus.effective",)
        if group.version == 2
        else ("cpuset.effective_cpus", "cpuset.cpus")
    )
    for name in names:
        count = _count_cpus((read_text(group.directory / name) or "").strip())
        if count:
            return count
    return None


def _count_cpus(text: str) -> int:
    """`0-3,7` are five; 0 for what cannot be read."""
    count = 0
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            return 0
        count += int(match[2] or match[1]) - int(match[1]) + 1
    return count
