import pytest

from tests.support.host import CGROUP2, MEMINFO, write
from tests.tracer.test_cgroup import HYBRID, NONE_V1
from tracer.cgroup import Groups
from tracer.collectors.memory import Memory

KIB = 1024
V1 = {
    "proc/self/mountinfo": "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "proc/self/cgroup": "4:memory:/a\n",
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000000\n",
    "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "600000\n",
    "sys/fs/cgroup/memory/a/memory.memsw.usage_in_bytes": "650000\n",
    "sys/fs/cgroup/memory/a/memory.stat": (
        "rss 1\ninactive_file 2\ntotal_rss 300000\ntotal_inactive_file 100000\n"
        "hierarchical_memory_limit 1000000\n"
    ),
    "sys/fs/cgroup/memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
}


def v2(limit="1000000", current="600000", stat="anon 300000\ninactive_file 100000\n", **files):
    tree = {
        "proc/self/mountinfo": CGROUP2,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.current": current + "\n",
        "sys/fs/cgroup/memory.max": limit + "\n",
        "sys/fs/cgroup/memory.stat": stat,
        "sys/fs/cgroup/memory.swap.current": "50000\n",
    }
    return tree | {f"sys/fs/cgroup/{name.replace('_', '.')}": text for name, text in files.items()}


def memory(folder, files, mode="auto"):
    root = write(
        folder, {"proc/meminfo": MEMINFO, "proc/vmstat": "nr_free 1\noom_kill 7\n", **files}
    )
    return Memory(root, Groups(root), mode)


def test_what_a_balloon_took_is_used_though_the_total_stays(tmp_path):
    """On a Fly machine: no process has it, and yet it is not to be had."""
    text = "MemTotal: 1000 kB\nMemFree: 150 kB\nMemAvailable: 200 kB\nAnonPages: 50 kB\n"
    assert values(tmp_path, {"proc/meminfo": text})["mem_percent"] == 80.0


def values(folder, files, mode="auto"):
    return memory(folder, files, mode).collect().values


def test_the_host_has_used_what_is_not_available(tmp_path):
    assert values(tmp_path, {}) == {
        "mem_rss_bytes": 800000 * KIB,
        "mem_available_bytes": 3000000 * KIB,
        "mem_total_bytes": 4000000 * KIB,
        "mem_used_bytes": 1000000 * KIB,
        "mem_percent": 25.0,
        "swap_used_bytes": 500000 * KIB,
        "mem_scope": "host",
        "oom_kills": None,
    }


@pytest.mark.parametrize("files", [v2(), V1])
def test_a_limited_group_has_used_its_working_set(tmp_path, files):
    found = values(tmp_path, files)
    assert found.pop("mem_scope") == ("cgroup_v1" if files is V1 else "cgroup_v2")
    assert found == {
        "mem_rss_bytes": 300000,
        "mem_used_bytes": 500000,
        "mem_available_bytes": 500000,
        "mem_total_bytes": 1000000,
        "mem_percent": 50.0,
        "swap_used_bytes": 50000,
        "oom_kills": None,
    }


@pytest.mark.parametrize("limit", ["max", "4096000000", "9999999999999"])
def test_a_limit_that_is_none_or_not_below_the_host_means_host(tmp_path, limit):
    assert values(tmp_path, v2(limit))["mem_scope"] == "host"


def test_a_hybrid_host_with_an_own_group_without_limit_reports_the_host(tmp_path):
    found = values(tmp_path, HYBRID)
    assert found["mem_scope"] == "host"
    assert found["mem_used_bytes"] == 1000000 * KIB


def test_the_scope_can_be_chosen_and_without_a_limit_there_is_no_percentage(tmp_path):
    assert values(tmp_path / "1", v2(), "host")["mem_scope"] == "host"
    found = values(tmp_path / "2", v2("max"), "cgroup")
    assert found["mem_scope"] == "cgroup_v2"
    assert found["mem_used_bytes"] == 500000
    assert found["mem_total_bytes"] is None
    assert "mem_percent" not in found
    assert "mem_available_bytes" not in found
    assert values(tmp_path / "3", {}, "cgroup")["mem_scope"] == "host"


def test_the_group_that_sets_the_limit_is_measured_not_our_corner_of_it(tmp_path):
    files = v2("800000") | {
        "proc/self/cgroup": "0::/agent/us\n",
        "sys/fs/cgroup/agent/us/memory.current": "1000\n",
        "sys/fs/cgroup/agent/us/memory.max": "max\n",
        "sys/fs/cgroup/agent/us/memory.stat": "inactive_file 0\n",
    }
    found = values(tmp_path, files)
    assert found["mem_used_bytes"] == 500000
    assert found["mem_total_bytes"] == 800000


def test_more_inactive_cache_than_usage_is_nothing_used(tmp_path):
    assert values(tmp_path, v2(stat="inactive_file 700000\n"))["mem_used_bytes"] == 0


def test_v1_counts_with_the_groups_below_and_not_what_underflowed(tmp_path):
    path = "sys/fs/cgroup/memory/a/memory.stat"
    found = values(tmp_path / "1", V1 | {path: "rss 5\ninactive_file 5\n"})
    assert found["mem_rss_bytes"] is None
    assert "mem_used_bytes" not in found
    found = values(
        tmp_path / "2", V1 | {path: f"total_rss {2**64 - 4096}\ntotal_inactive_file 0\n"}
    )
    assert found["mem_rss_bytes"] is None
    assert values(tmp_path / "3", V1)["mem_total_bytes"] == 1000000


@pytest.mark.parametrize("text", ["", "garbage\n", "MemTotal: many kB\n"])
def test_what_cannot_be_read_is_unknown_and_not_zero(tmp_path, text):
    found = values(tmp_path, {"proc/meminfo": text, "proc/vmstat": text})
    assert set(found.values()) == {None}


def test_a_group_that_loses_its_file_under_our_eyes(tmp_path):
    files = v2(current="")
    found = values(tmp_path, files)
    assert found["mem_total_bytes"] == 1000000
    assert "mem_used_bytes" not in found


@pytest.mark.parametrize(
    ("files", "place", "text"),
    [
        ({}, "proc/vmstat", "oom_kill {}\n"),
        (v2(), "sys/fs/cgroup/memory.events", "low 0\noom 9\noom_kill {}\n"),
        (V1, "sys/fs/cgroup/memory/a/memory.oom_control", "under_oom 0\noom_kill {}\n"),
        (V1, "sys/fs/cgroup/memory/a/child/memory.oom_control", "under_oom 0\noom_kill {}\n"),
    ],
)
def test_oom_kills_are_those_of_the_interval(tmp_path, files, place, text):
    collector = memory(tmp_path, files | {place: text.format(7)})
    seen = []
    for count in (7, 9, 9, 2, 3):  # the group was made again before the fourth
        write(tmp_path, {place: text.format(count)})
        seen.append(collector.collect().values["oom_kills"])
    assert seen[:3] == [None, 2, 0]
    assert seen[4] == 1
    assert seen[3] is None


def test_kills_of_other_groups_are_a_fact_but_not_ours(tmp_path):
    collector = memory(tmp_path, v2() | {"sys/fs/cgroup/memory.events": "oom_kill 0\n"})
    collector.collect()
    write(tmp_path, {"proc/vmstat": "oom_kill 8\n"})
    reading = collector.collect()
    assert reading.values["oom_kills"] == 0
    assert reading.facts["host_oom_kills"] == 1


def test_no_limit_of_v1_is_no_limit(tmp_path):
    files = V1 | {
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{NONE_V1}\n",
        "sys/fs/cgroup/memory/a/memory.stat": f"hierarchical_memory_limit {NONE_V1}\n",
    }
    assert values(tmp_path, files)["mem_scope"] == "host"
