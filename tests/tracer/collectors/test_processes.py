import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wait_until
from tests.support.host import Clock, process, write
from tracer.collectors.gateway import GatewayFinder
from tracer.collectors.process_table import PAGE_BYTES, parse_stat, read_table
from tracer.collectors.processes import HEAVIEST, MAX_ZOMBIES, Processes

ROOT = Path("/")


def machine(folder, *stats):
    """Files of these processes, and no others."""
    root = Path(folder)
    texts = {f"proc/{text.split()[0]}/stat": text for text in stats}
    for old in root.glob("proc/[0-9]*/stat"):
        if str(old.relative_to(root)) not in texts:
            old.unlink()
    return write(root, {"proc/stat": "", "proc/meminfo": "", **texts})


def test_the_name_may_hold_brackets_and_spaces():
    found = parse_stat(
        process(7, name="a) S 1 (b", ticks=5, rss=3, start=9, threads=4, code=9).encode()
    )
    assert found.name == "a) S 1 (b"
    assert (found.pid, found.state, found.cpu_ticks, found.rss_pages) == (7, "S", 5, 3)
    assert (found.start_ticks, found.threads, found.exit_code) == (9, 4, 9)


@given(
    st.binary(max_size=200) | st.integers(0, 300).map(lambda n: process(5, name="x)").encode()[:n])
)
def test_what_is_cut_short_or_garbled_is_no_process(content):
    found = parse_stat(content)
    assert found is None or found.rss_pages >= 0


def test_our_own_process_is_as_psutil_sees_it():
    found = read_table(ROOT).processes[os.getpid()]
    same = psutil.Process()
    assert found.name == same.name()[:15]
    assert found.ppid == same.ppid()
    assert found.threads == same.num_threads()
    assert found.rss_pages * PAGE_BYTES == pytest.approx(same.memory_info().rss, rel=0.1)


def test_the_count_is_that_of_psutil():
    assert abs(len(read_table(ROOT).processes) - len(psutil.pids())) < 20


def test_the_heaviest_the_zombies_and_the_gateway_each_once(tmp_path):
    stats = [process(n, rss=n, name=f"p{n}") for n in range(10, 30)]
    stats += [process(40, state="Z", rss=0), process(41, rss=5, name="quiet-gateway")]
    root = machine(tmp_path, *stats)
    write(root, {"proc/41/cmdline": "openclaw-gateway\0"})
    clock = Clock()
    finder = GatewayFinder(root, "openclaw-gateway", own_pids=tuple)
    processes = Processes(root, finder, clock)
    processes.collect()
    busy = [
        process(n, rss=n, name=f"p{n}", ticks=(300 if n in (11, 29) else 1)) for n in range(10, 30)
    ]
    machine(tmp_path, *busy, *stats[20:])
    clock.now += 10
    reading = processes.collect()
    rows = {row["pid"]: row for row in reading.facts["rows"]}
    assert list(rows) == [41, 29, 28, 27, 11, 40]
    assert rows[11]["cpu_percent"] == 30.0
    assert rows[40]["state"] == "Z"
    assert [pid for pid, row in rows.items() if row["is_gateway"]] == [41]
    assert reading.values == {
        "processes": 22,
        "zombies": 1,
        "gateway_up": 1,
        "gateway_pid": 41,
        "gateway_cpu_percent": 0.0,
        "gateway_rss_bytes": 5 * PAGE_BYTES,
    }


def test_a_flood_of_zombies_is_counted_but_not_listed(tmp_path):
    root = machine(tmp_path, *(process(n, state="Z", rss=0) for n in range(100, 400)))
    reading = Processes(root, None).collect()
    assert reading.values == {"processes": 300, "zombies": 300}
    assert len(reading.facts["rows"]) <= MAX_ZOMBIES + HEAVIEST


def test_a_pid_that_comes_again_is_another_process(tmp_path):
    clock = Clock()
    root = machine(tmp_path, process(50, ticks=9000, start=100, rss=77))
    processes = Processes(root, None, clock)
    processes.collect()
    machine(tmp_path, process(50, ticks=200, start=5000))
    clock.now += 10
    reading = processes.collect()
    assert reading.facts["rows"][0]["cpu_percent"] == 20.0
    assert reading.facts["vanished"].rss_pages == 77


def test_the_largest_that_ended_is_named_zombies_included(tmp_path):
    root = machine(tmp_path, process(50, rss=500), process(51, rss=900), process(52, rss=100))
    processes = Processes(root, None)
    assert processes.collect().facts["vanished"] is None
    machine(tmp_path, process(50, rss=500), process(51, rss=0, state="Z"))
    assert processes.collect().facts["vanished"].pid == 51
    assert processes.collect().facts["vanished"] is None


def test_how_many_are_hidden_is_said(tmp_path):
    """With hidepid=1 the folders are there and their files are not for us."""
    root = machine(tmp_path, process(50))
    (tmp_path / "proc/51").mkdir()
    (tmp_path / "proc/52").mkdir()
    (tmp_path / "proc/51/stat").symlink_to("stat")  # ELOOP stands for EACCES, which root never gets
    table = read_table(root)
    assert list(table.processes) == [50]
    assert table.unread == 1
    reading = Processes(root, None).collect()
    assert reading.values["processes"] == 2


def test_cpu_of_a_real_process_is_what_the_kernel_accounts_to_it():
    code = "import time\nprint(flush=True)\nwhile True:\n    end = time.process_time() + .02\n    while time.process_time() < end: pass\n    time.sleep(.02)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            child.stdout.readline()
            processes = Processes(ROOT, GatewayFinder(ROOT, "process_time"))
            created_at_ms = psutil.Process(child.pid).create_time() * 1000
            other, started = psutil.Process(child.pid), time.monotonic()
            processes.collect()
            before = other.cpu_times()
            wait_until(lambda: sum(other.cpu_times()[:2]) - sum(before[:2]) > 0.5, 30)
            reading, seconds = processes.collect(), time.monotonic() - started
            after = other.cpu_times()
        finally:
            child.kill()
    expected = 100 * (sum(after[:2]) - sum(before[:2])) / seconds
    (row,) = [row for row in reading.facts["rows"] if row["is_gateway"]]
    assert row["pid"] == child.pid
    assert row["cpu_percent"] == pytest.approx(expected, abs=3)
    assert row["started_at"] == pytest.approx(created_at_ms, abs=1500)
