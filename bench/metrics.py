"""What a pass of the sampler costs, and whether its figures are true: known loads beside ours."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from tracer import collectors
from tracer.cgroup import Groups
from tracer.collectors.cpu import Cpu
from tracer.collectors.disk import Disk
from tracer.collectors.gateway import GatewayFinder
from tracer.collectors.processes import Processes
from tracer.collectors.runner import Runner

ROOT = Path("/")
CGROUPS = Path("/sys/fs/cgroup")
HALF_BUSY = """
import time
while True:
    end = time.perf_counter() + .02
    while time.perf_counter() < end: pass
    time.sleep(.02)
"""
WRITE_MB = 96


def show_all(show, seconds=15):
    cost(show)
    half_core_by_itself(show, seconds)
    if os.getuid() == 0 and (CGROUPS / "cpu/cpu.cfs_quota_us").exists():
        half_core_by_quota(show, seconds)
    if os.getuid() == 0 and shutil.which("mkfs.ext4") and shutil.which("losetup"):
        known_write(show)


def cost(show, processes=200, passes=2000):
    """CPU of a full pass beside that many processes; what it leaves behind."""
    count = max(0, processes - sum(name.isdigit() for name in os.listdir("/proc")))
    idle = [subprocess.Popen(["sleep", "3600"]) for _ in range(count)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            parts = collectors.build(
                folder=Path(folder), mode="auto", watch="auto", dns_probes=("localhost",)
            )
            runner = Runner(parts)
            runner.run()
            before = time.process_time_ns()
            for _ in range(50):
                runner.run()
            cpu_ms = (time.process_time_ns() - before) / 50e6
            open_before = len(os.listdir("/proc/self/fd")), threading.active_count()
            for _ in range(passes - 50):
                runner.run()
            open_after = len(os.listdir("/proc/self/fd")), threading.active_count()
    finally:
        for process in idle:
            process.kill()
            process.wait()
    show(f"metrics: a pass beside {processes} processes, CPU ms", f"{cpu_ms:.2f}", "≤ 15")
    left = f"{open_after[0] - open_before[0]} / {open_after[1] - open_before[1]}"
    show(f"metrics: descriptors / threads left by {passes} passes", left, "0 / 0")
    show("metrics: passes in which a collector was skipped", str(runner.skips.total()), "0")


@contextmanager
def busy(code):
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            os.sched_setaffinity(child.pid, {0})
            time.sleep(0.5)
            yield child.pid
        finally:
            child.kill()


def half_core_by_itself(show, seconds):
    """A loop that sleeps half of the time, on one CPU; the truth is the scheduler's account."""

    def truth_s(pid):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9

    with busy(HALF_BUSY) as pid:
        processes = Processes(ROOT, GatewayFinder(ROOT, "while time.perf_counter"))
        processes.collect()
        before, started = truth_s(pid), time.monotonic()
        time.sleep(seconds)
        rows = processes.collect().facts["rows"]
        true_percent = 100 * (truth_s(pid) - before) / (time.monotonic() - started)
    ours = next(row["cpu_percent"] for row in rows if row["pid"] == pid)
    show(
        f"metrics: a half-busy loop over {seconds:g} s: ours / true, %",
        f"{ours:.1f} / {true_percent:.1f}",
        "± 3",
    )


def half_core_by_quota(show, seconds):
    """A busy loop in a v1 group with half a core."""
    name = f"openclaw-trace-bench-{os.getpid()}"
    folders = [CGROUPS / "cpu" / name, CGROUPS / "cpuacct" / name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "proc/self").mkdir(parents=True)
        for file in ("stat", "loadavg", "self/mountinfo"):
            (root / "proc" / file).symlink_to(f"/proc/{file}")
        (root / "proc/self/cgroup").write_text(f"2:cpuacct:/{name}\n1:cpu:/{name}\n")
        (root / "sys").symlink_to("/sys")
        for group in folders:
            group.mkdir()
        try:
            (folders[0] / "cpu.cfs_quota_us").write_text("50000")
            with busy("while True: pass") as pid:
                for group in folders:
                    (group / "cgroup.procs").write_text(str(pid))
                cpu = Cpu(root, Groups(root), "auto")
                time.sleep(0.5)
                cpu.collect()
                usage, started = folders[1] / "cpuacct.usage", time.monotonic()
                before_ns = int(usage.read_text())
                time.sleep(seconds)
                values = cpu.collect().values
                true_s = (int(usage.read_text()) - before_ns) / 1e9
                true_percent = 200 * true_s / (time.monotonic() - started)
        finally:
            for group in folders:
                while (group / "cgroup.procs").read_text():
                    time.sleep(0.05)
                group.rmdir()
    show(
        f"metrics: half a core by quota over {seconds:g} s: ours / true, %",
        f"{values['cpu_percent']:.1f} / {true_percent:.1f}",
        "± 3",
    )
    throttled = f"{values['cpu_throttled_percent']:.0f} / {values['cpu_scope']}"
    show("metrics: its throttled periods, % / scope", throttled)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def known_write(show):
    """`dd` with `fdatasync` on a loop device of its own: the disk is shared, this is not."""
    with tempfile.TemporaryDirectory() as folder:
        image, mount = Path(folder) / "image", Path(folder) / "mnt"
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(4 * WRITE_MB << 20)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", image)
        device = run("losetup", "--find", "--show", image).strip()
        try:
            run("mount", device, mount)
            try:
                disk = Disk(ROOT, mount)
                disk.collect()
                size = ("bs=1M", f"count={WRITE_MB}", "conv=fdatasync")
                run("dd", "if=/dev/zero", f"of={mount}/file", *size)
                written = disk.collect().values["disk_write_bytes"]
            finally:
                run("umount", mount)
        finally:
            run("losetup", "-d", device)
    ratio = written / (WRITE_MB << 20)
    show(f"metrics: {WRITE_MB} MB by dd with fdatasync: ours / written", f"{ratio:.4f}", "1 ± 0.05")
