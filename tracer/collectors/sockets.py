"""TCP sockets, without walking the table of connections: thousands of them would cost milliseconds.

Kernel: proc_pid_net(5), networking/proc_net_tcp: listening sockets come first.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from tracer.kernel_files import read_text


def listeners(root: Path) -> dict[int, set[str]]:
    """Port → the links that `/proc/PID/fd` has for sockets listening on it."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for name in _tables(root):
        try:
            descriptor = os.open(root / "proc/net" / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            _read_listeners(descriptor, found)
        except OSError:
            pass
        finally:
            os.close(descriptor)
    return found


def _tables(root: Path) -> tuple[str, ...]:
    """Finding out that the second is empty would cost a walk through the kernel's hash table."""
    inuse = _counters(root / "proc/net/sockstat6").get("TCP6 inuse")
    return ("tcp",) if inuse == 0 else ("tcp", "tcp6")


def _read_listeners(descriptor: int, found: defaultdict[int, set[str]]) -> None:
    """Up to the first socket that does not listen; the kernel gives a page of lines at a time."""
    rest = b""
    while part := os.read(descriptor, 4096):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            fields = line.split()
            if fields[:1] == [b"sl"]:
                continue
            if len(fields) < 10 or fields[3] != b"0A":
                return
            port = int(fields[1].rpartition(b":")[2], 16)
            found[port].add(f"socket:[{fields[9].decode()}]")


def connections(root: Path) -> dict[str, Any]:
    """Columns. Listening sockets are no connections; what waits in TIME_WAIT is one."""
    sockets = _counters(root / "proc/net/sockstat")
    if "TCP inuse" not in sockets:
        return {}
    in_use = sockets["TCP inuse"] + _counters(root / "proc/net/sockstat6").get("TCP6 inuse", 0)
    listening = sum(len(links) for links in listeners(root).values())
    total = in_use - listening + sockets.get("TCP tw", 0)
    established = _established(read_text(root / "proc/net/snmp") or "")
    return {"net_connections": max(0, total), "net_established": established}


def _counters(path: Path) -> dict[str, int]:
    """Lines such as `TCP: inuse 5 orphan 0 tw 2`."""
    counters = {}
    for line in (read_text(path) or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        for key, number in zip(words[::2], words[1::2], strict=False):
            if number.isdigit():
                counters[f"{name} {key}"] = int(number)
    return counters


def _established(snmp: str) -> int | None:
    """`CurrEstab`: a line of names is followed by one of numbers."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith("Tcp:")]
    if len(lines) < 2:
        return None
    current = dict(zip(lines[0], lines[1], strict=False)).get("CurrEstab", "")
    return int(current) if current.isdigit() else None
