"""Traffic of the interfaces, TCP connections, and whether there is a way out.

Kernel: proc_pid_net(5), ipv6_route. Of the network namespace we live in.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tracer.collectors.base import Deltas, Reading
from tracer.collectors.sockets import connections
from tracer.kernel_files import read_text

_COLUMNS: Final = {
    "net_rx_bytes": (0,),
    "net_tx_bytes": (8,),
    "net_errors": (2, 10),
    "net_drops": (3, 11),
}
"""Column → fields of `/proc/net/dev` that make it up."""

_RTF_UP: Final = 0x1


class Network:
    """Everything but loopback."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._deltas = Deltas(clock)

    def collect(self) -> Reading:
        growth = self._deltas.update(
            {
                f"{name} {column}": sum(counters[place] for place in places)
                for name, counters in _interfaces(self._root).items()
                for column, places in _COLUMNS.items()
            }
        )
        values: dict[str, Any] = {}
        for column in _COLUMNS:
            grown = [value for name, value in growth.items() if name.endswith(f" {column}")]
            values[column] = int(sum(grown)) if grown else None
        return Reading({**values, **connections(self._root)}, {"has_route": has_route(self._root)})


def _interfaces(root: Path) -> dict[str, list[int]]:
    """Name → counters. Where there is hardware, bridges and tunnels only carry its bytes again."""
    found = {}
    for line in (read_text(root / "proc/net/dev") or "").splitlines():
        name, colon, counters = line.strip().rpartition(":")
        numbers = counters.split()
        if colon and name != "lo" and len(numbers) >= 12 and all(n.isdigit() for n in numbers):
            found[name] = [int(number) for number in numbers]
    hardware = {n: c for n, c in found.items() if (root / "sys/class/net" / n / "device").exists()}
    return hardware or found


def has_route(root: Path) -> bool | None:
    """Whether a default route leads over an interface that is not down; None when unknown."""
    tables = [read_text(root / "proc/net/route"), read_text(root / "proc/net/ipv6_route")]
    if tables == [None, None]:
        return None
    exits = [*_default_ipv4(tables[0] or ""), *_default_ipv6(tables[1] or "")]
    return any(
        (read_text(root / "sys/class/net" / name / "operstate") or "").strip() != "down"
        for name in exits
    )


def _default_ipv4(table: str) -> Iterator[str]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        is_default = len(fields) > 7 and fields[1] == fields[7] == "00000000"
        if is_default and int(fields[3], 16) & _RTF_UP:
            yield fields[0]


def _default_ipv6(table: str) -> Iterator[str]:
    for line in table.splitlines():
        fields = line.split()
        is_default = len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00"
        if is_default and fields[9] != "lo" and int(fields[8], 16) & _RTF_UP:
            yield fields[9]
