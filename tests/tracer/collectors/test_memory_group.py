"""A real v1 memory group with a real limit, and a real kill in it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.tracer.test_sampler import Bench
from tracer.cgroup import Groups, find
from tracer.collectors.memory import Memory
from tracer.collectors.processes import Processes
from tracer.events import ErrorEvent

LIMIT_BYTES = 48 * 2**20
TOP = Path("/sys/fs/cgroup/memory")

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="making a control group needs root"),
    pytest.mark.skipif(
        not (TOP / "memory.limit_in_bytes").exists(), reason="no v1 memory controller is mounted"
    ),
]


@pytest.fixture
def group():
    folder = TOP / f"openclaw-trace-test-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        yield folder
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


@pytest.fixture
def root(tmp_path, group):
    """This machine, as a process in the group would see it."""
    (tmp_path / "proc/self").mkdir(parents=True)
    for name in ("meminfo", "vmstat", "self/mountinfo"):
        (tmp_path / "proc" / name).symlink_to(f"/proc/{name}")
    (tmp_path / "proc/self/cgroup").write_text(f"4:memory:/{group.name}\n")
    (tmp_path / "sys").symlink_to("/sys")
    return tmp_path


def inside(group, code):
    """A process of the group that runs `code`; kills of it hit nobody else."""
    begin = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + code], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )


def number(path):
    return int(path.read_text())


def test_the_figures_are_those_of_the_kernel(root, group):
    code = "held = bytearray(16 << 20)\nopen('/dev/null').read()\nprint(flush=True)\ninput()"
    with inside(group, code) as child:
        child.stdout.readline()
        time.sleep(0.1)
        memory = Memory(root, Groups(root), "auto")
        values = memory.collect().values
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        usage = number(group / "memory.usage_in_bytes")
        child.communicate(b"\n")
    assert (
        find("memory", "memory.current", root).directory
        == root / "sys/fs/cgroup/memory" / group.name
    )
    assert values["mem_scope"] == "cgroup_v1"
    assert values["mem_total_bytes"] == LIMIT_BYTES
    used = usage - int(stat["total_inactive_file"])
    assert values["mem_used_bytes"] == pytest.approx(used, abs=2**20)
    assert values["mem_rss_bytes"] == pytest.approx(int(stat["total_rss"]), abs=2**20)
    assert values["mem_rss_bytes"] >= 16 << 20
    assert values["mem_available_bytes"] == LIMIT_BYTES - values["mem_used_bytes"]
    assert values["mem_percent"] == pytest.approx(100 * used / LIMIT_BYTES, abs=3)


def test_a_real_kill_for_lack_of_memory_gives_exactly_one_event(root, group, decoders, tmp_path):
    code = "input()\nheld = [bytearray(1 << 20) for _ in range(500)]\ninput()"
    with inside(group, code) as child:
        wait_until(lambda: str(child.pid) in (group / "cgroup.procs").read_text().split())
        bench = Bench(
            decoders,
            tmp_path,
            memory=Memory(root, Groups(root), "auto"),
            processes=Processes(Path("/"), None),
        )
        bench.runner._budget_s = 10
        bench.step()
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.wait(30) == -9
        for _ in range(4):
            bench.step()
    (event,) = bench.rows(ErrorEvent)
    assert (event["error_type"], event["category"]) == ("crash", "oom_kill")
    assert '"kills":1' in event["metadata"]
    assert [row["oom_kills"] for row in bench.rows()] == [1, 0, 0, 0]


def test_the_kernel_counts_the_kill_for_the_host_as_well(group):
    host = Memory(Path("/"), Groups(), "host")
    host.collect()
    with inside(group, "held = [bytearray(1 << 20) for _ in range(500)]") as child:
        assert child.wait(30) == -9
    assert host.collect().values["oom_kills"] >= 1
