"""What we measure: one subject a file. To add one, add a file and a line here."""

from collections.abc import Sequence
from pathlib import Path

from tracer.cgroup import Groups
from tracer.collectors.base import Collector
from tracer.collectors.cpu import Cpu
from tracer.collectors.disk import Disk
from tracer.collectors.dns import Dns
from tracer.collectors.gateway import GatewayFinder
from tracer.collectors.memory import Memory
from tracer.collectors.network import Network
from tracer.collectors.pressure import Pressure
from tracer.collectors.processes import Processes
from tracer.collectors.self_usage import SelfUsage
from tracer.collectors.startup import Startup


def build(
    *,
    folder: Path,
    mode: str,
    watch: str,
    dns_probes: Sequence[str],
    state_folder: Path | None = None,
    root: Path = Path("/"),
) -> dict[str, Collector]:
    """All collectors by name, in the order in which they run. Opens and reads nothing.

    `folder` lies on the volume of the database; `mode` is `auto`, `cgroup` or `host`; `watch` and
    `state_folder` say which process is the gateway; `root` is `/` but in tests.
    """
    everywhere: dict[str, Collector] = {"disk": Disk(root, folder), "dns": Dns(dns_probes)}
    if not (root / "proc/stat").exists():
        from tracer.collectors.portable import Portable

        return {"host": Portable(), **everywhere}
    groups = Groups(root)
    finder = GatewayFinder(root, watch, state_folder=state_folder) if watch else None
    cpu, memory = Cpu(root, groups, mode), Memory(root, groups, mode)
    return {
        "cpu": cpu,
        "memory": memory,
        "pressure": Pressure(root, lambda: cpu.group, lambda: memory.group),
        **everywhere,
        "network": Network(root),
        "processes": Processes(root, finder),
        "startup": Startup(lambda: finder.found if finder else None),
        "self_usage": SelfUsage(root),
    }
