import pytest

from tests.support.host import CGROUP2, Clock, stat, write
from tracer.cgroup import Groups
from tracer.collectors.cpu import Cpu

V1 = {
    "proc/self/mountinfo": (
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
    ),
    "proc/self/cgroup": "2:cpuacct:/a\n1:cpu:/a\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpuacct/a/cpuacct.usage": "1000000000\n",
    "sys/fs/cgroup/cpuacct/a/cpuacct.stat": "user 60\nsystem 40\n",
}


class Host:
    """A machine of files; `step` lets 10 s pass."""

    def __init__(self, folder, files, mode="auto"):
        self.root = write(
            folder, {"proc/stat": stat(), "proc/loadavg": "0.5 1.25 2 1/80 99\n", **files}
        )
        self.clock = Clock()
        self.cpu = Cpu(self.root, Groups(self.root, self.clock), mode, self.clock)

    def step(self, files):
        write(self.root, files)
        self.clock.now += 10
        return self.cpu.collect().values


def v2(quota="max 100000", usage=0, **lines):
    text = f"usage_usec {usage}\n" + "".join(f"{n} {v}\n" for n, v in lines.items())
    return {
        "proc/self/mountinfo": CGROUP2,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": quota + "\n",
        "sys/fs/cgroup/cpu.stat": text,
    }


def test_the_host_splits_busy_idle_and_steal_and_counts_guests_once(tmp_path):
    host = Host(tmp_path, {})
    first = host.step({})
    assert first["cpu_user_percent"] is None
    assert "cpu_percent" not in first
    values = host.step(
        {"proc/stat": stat(user=500, nice=100, system=200, irq=50, softirq=50, idle=1500,
                           iowait=500, steal=1100, guest=400)}
    )  # fmt: skip
    assert values["cpu_percent"] == 22.5
    assert values["cpu_user_percent"] == 15.0
    assert values["cpu_system_percent"] == 7.5
    assert values["cpu_idle_percent"] == 50.0
    assert values["cpu_steal_percent"] == 27.5
    assert values["cpu_cores_used"] == 0.9
    assert values["cpu_cores_limit"] == 4
    assert values["cpu_scope"] == "host"
    assert values["cpu_throttled_percent"] is None
    assert [values[f"load_{n}m"] for n in (1, 5, 15)] == [0.5, 1.25, 2.0]


def test_iowait_may_shrink_but_a_counter_that_begins_anew_gives_no_value(tmp_path):
    host = Host(tmp_path, {"proc/stat": stat(user=100, idle=100, iowait=100)})
    host.step({})
    values = host.step({"proc/stat": stat(user=200, idle=300, iowait=99)})
    assert values["cpu_percent"] == pytest.approx(33.4, abs=0.1)
    values = host.step({"proc/stat": stat(user=5, idle=400, iowait=99)})
    assert values.get("cpu_percent") is None
    assert values["cpu_idle_percent"] is None
    assert host.step({"proc/stat": stat(user=15, idle=490, iowait=99)})["cpu_percent"] == 10.0


def test_a_group_with_a_quota_counts_against_the_quota(tmp_path):
    host = Host(tmp_path, v2("50000 100000", user_usec=0, system_usec=0))
    host.step({})
    files = v2("50000 100000", 2_000_000, user_usec=1_500_000, system_usec=500_000,
               nr_periods=100, nr_throttled=25)  # fmt: skip
    values = host.step(files | {"proc/stat": stat(user=900, idle=0, steal=100)})
    assert values["cpu_scope"] == "cgroup_v2"
    assert values["cpu_cores_used"] == 0.2
    assert values["cpu_cores_limit"] == 0.5
    assert values["cpu_percent"] == 40.0
    assert values["cpu_user_percent"] == 30.0
    assert values["cpu_system_percent"] == 10.0
    assert values["cpu_idle_percent"] == 60.0
    assert values["cpu_steal_percent"] == 10.0
    assert values["cpu_throttled_percent"] is None  # the counters were not there before
    values = host.step(v2("50000 100000", 9_000_000, nr_periods=200, nr_throttled=75))
    assert values["cpu_throttled_percent"] == 50.0
    assert values["cpu_percent"] == 140.0  # a burst: not cut
    assert values["cpu_idle_percent"] == 0.0


def test_v1_counts_in_nanoseconds_and_ticks(tmp_path):
    host = Host(tmp_path, V1)
    host.step({})
    values = host.step(
        {
            "sys/fs/cgroup/cpuacct/a/cpuacct.usage": "6000000000\n",
            "sys/fs/cgroup/cpuacct/a/cpuacct.stat": "user 460\nsystem 140\n",
        }
    )
    assert values["cpu_scope"] == "cgroup_v1"
    assert values["cpu_cores_used"] == 0.5
    assert values["cpu_percent"] == 25.0
    assert values["cpu_user_percent"] == 20.0
    assert values["cpu_system_percent"] == 5.0


@pytest.mark.parametrize(
    ("quota", "cpuset", "limit", "scope"),
    [
        ("800000 100000", "0-3", 4, "host"),  # a quota above the CPUs there are
        ("300000 100000", "0-1", 2, "cgroup_v2"),  # a cpuset below the quota
        ("max 100000", "1", 1, "cgroup_v2"),
        ("max 100000", "0-3", 4, "host"),
        ("25000 100000", "0-3", 0.25, "cgroup_v2"),
    ],
)
def test_the_least_of_cpus_cpuset_and_quota(tmp_path, quota, cpuset, limit, scope):
    files = v2(quota) | {"sys/fs/cgroup/cpuset.cpus.effective": cpuset + "\n"}
    values = Host(tmp_path, files).step({})
    assert values["cpu_cores_limit"] == limit
    assert values["cpu_scope"] == scope


def test_the_scope_can_be_chosen(tmp_path):
    limited = v2("50000 100000", 1)
    assert Host(tmp_path / "1", limited, "host").step({})["cpu_scope"] == "host"
    host = Host(tmp_path / "2", v2(), "cgroup")
    host.step({})
    values = host.step(v2(usage=10_000_000))
    assert values["cpu_scope"] == "cgroup_v2"
    assert values["cpu_percent"] == 25.0
    assert values["cpu_throttled_percent"] is None
    assert Host(tmp_path / "3", {}, "cgroup").step({})["cpu_scope"] == "host"


def test_a_group_made_again_counts_from_zero_and_gives_no_value_once(tmp_path):
    host = Host(tmp_path, v2("50000 100000", 7_000_000))
    host.step({})
    assert host.step(v2("50000 100000", 100))["cpu_percent"] is None
    assert host.step(v2("50000 100000", 1_000_100))["cpu_percent"] == 20.0


@pytest.mark.parametrize("text", ["", "cpu\n", "garbage\n", "intr 1 2 3 4 5 6\n"])
def test_a_file_that_cannot_be_read_gives_no_values(tmp_path, text):
    host = Host(tmp_path, {"proc/stat": text, "proc/loadavg": text})
    host.step({})
    values = host.step({})
    assert {value for name, value in values.items()} == {None}
