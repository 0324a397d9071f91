"""Fixture trees: a machine's `/proc` and `/sys` as files in a folder."""

from pathlib import Path

MEMINFO = """MemTotal:        4000000 kB
MemFree:         1000000 kB
MemAvailable:    3000000 kB
Buffers:          100000 kB
Cached:          1500000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
AnonPages:        800000 kB
HugePages_Total:       0
"""

CGROUP2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def write(root, files):
    """`files`: path → text, below `root`; returns `root` as the machine's."""
    root = Path(root)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def stat(user=0, system=0, idle=0, steal=0, cpus=4, nice=0, iowait=0, irq=0, softirq=0, guest=0):
    """`/proc/stat` in ticks of 10 ms."""
    numbers = f"{user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} {guest} 0"
    lines = [f"cpu  {numbers}", *(f"cpu{n} {numbers}" for n in range(cpus))]
    return "\n".join([*lines, "intr 5 0 0", "btime 1700000000", "processes 10"]) + "\n"


class Clock:
    """A monotonic clock moved by hand."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def process(pid, *, name="node", state="S", ppid=1, ticks=0, threads=1, start=100, rss=10, code=0):
    """`/proc/PID/stat`; `rss` in pages."""
    fields = [
        state,
        ppid,
        *[0] * 9,
        ticks,
        0,
        0,
        0,
        20,
        0,
        threads,
        0,
        start,
        9999,
        rss,
        *[0] * 27,
        code,
    ]
    return f"{pid} ({name}) " + " ".join(str(field) for field in fields) + "\n"
