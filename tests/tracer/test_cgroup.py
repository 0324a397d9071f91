"""Which group, which version, which limit: one fixture tree for each way hosts differ."""

import pytest

from tests.support.host import CGROUP2, Clock, write
from tracer import cgroup
from tracer.cgroup import Groups, Limit, find

NONE_V1 = 9223372036854771712
HYBRID = {
    # A Firecracker machine, kernel 6.18: v1 controllers each on their own, cgroup2 beside them.
    "proc/self/mountinfo": (
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
        "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n"
        "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    ),
    "proc/self/cgroup": (
        "9:name=systemd:/\n4:memory:/process_api/05d9\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n"
    ),
    "sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
    "sys/fs/cgroup/unified/cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\n",
    "sys/fs/cgroup/unified/memory.pressure": "some avg10=0 avg60=0 avg300=0 total=0\n",
    "sys/fs/cgroup/memory/process_api/05d9/memory.limit_in_bytes": f"{NONE_V1}\n",
    "sys/fs/cgroup/memory/process_api/05d9/memory.usage_in_bytes": "3800000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


def v2(path="/", **files):
    """A machine with cgroup2 alone; `files` with `__` for `/`, below the mount point."""
    tree = {"proc/self/mountinfo": CGROUP2, "proc/self/cgroup": f"0::{path}\n"}
    return tree | {f"sys/fs/cgroup/{n.replace('__', '/')}": text for n, text in files.items()}


def v1(mount_root="/", path="/", **files):
    tree = {
        "proc/self/mountinfo": f"35 31 0:32 {mount_root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        "proc/self/cgroup": f"4:memory:{path}\n",
    }
    return tree | {f"sys/fs/cgroup/memory/{n.replace('__', '/')}": t for n, t in files.items()}


def test_a_hybrid_host_is_decided_for_each_controller(tmp_path):
    root = write(tmp_path, HYBRID)
    memory = find("memory", "memory.current", root)
    assert memory.scope == "cgroup_v1"
    assert memory.directory == root / "sys/fs/cgroup/memory/process_api/05d9"
    assert find("cpu", "cpu.max", root).scope == "cgroup_v1"
    assert cgroup.memory_limit(memory) is None
    assert cgroup.cpu_quota(find("cpu", "cpu.max", root)) is None


def test_the_file_counts_not_the_list_of_what_could_be(tmp_path):
    files = v2(**{"cgroup.controllers": "cpu memory io\n", "cpu.stat": "usage_usec 1\n"})
    root = write(tmp_path, files)
    assert find("memory", "memory.current", root) is None
    assert find("cpu", "cpu.max", root) is None
    (root / "sys/fs/cgroup/memory.current").write_text("5\n")
    assert find("memory", "memory.current", root).version == 2


def test_the_root_of_v2_has_no_limits(tmp_path):
    """It lacks memory.current, memory.max, cpu.max and memory.events."""
    root = write(tmp_path, v2(**{"memory.stat": "anon 5\n", "cpu.stat": "usage_usec 1\n"}))
    assert find("memory", "memory.current", root) is None


def test_a_private_namespace_shows_its_group_as_the_root(tmp_path):
    root = write(tmp_path, v2("/", **{"memory.current": "5\n", "memory.max": "1000\n"}))
    group = find("memory", "memory.current", root)
    assert group.directory == root / "sys/fs/cgroup"
    assert cgroup.memory_limit(group) == Limit(1000, root / "sys/fs/cgroup")


def test_the_part_of_the_path_that_the_mount_shows_is_taken_off(tmp_path):
    """Docker with v1 and without a namespace: the mount begins at the container's group."""
    files = v1("/docker/abc", "/docker/abc/sub", **{"sub__memory.limit_in_bytes": "70\n"})
    root = write(tmp_path, files)
    group = find("memory", "memory.current", root)
    assert group.directory == root / "sys/fs/cgroup/memory/sub"
    same = write(tmp_path / "2", v1("/docker/abc", "/docker/abc"))
    (same / "sys/fs/cgroup/memory").mkdir(parents=True)
    assert find("memory", "memory.current", same).rule == "path below the root of the mount"
    alike = write(tmp_path / "3", v1("/docker/abc", "/docker/abcd"))
    (alike / "sys/fs/cgroup/memory/d").mkdir(parents=True)
    assert find("memory", "memory.current", alike).rule == "mount point"


@pytest.mark.parametrize(
    ("mount_root", "path", "folder", "rule"),
    [
        ("/", "/kubepods/pod1/c1", "", "mount point"),  # the path of the host, private mount
        ("/", "/kubepods/pod1/c1", "c1", "end of the path found in the mount"),
        ("/", "/../other/c1", "c1", "end of the path found in the mount"),  # moved after the mount
        ("/", "/../../..", "", "mount point"),
        ("/..", "/", "", "mount point"),
        ("/docker/abc", "/docker/xyz", "docker/xyz", "end of the path found in the mount"),
    ],
)
def test_a_path_outside_of_the_mount_is_looked_for_and_never_leads_out(
    tmp_path, mount_root, path, folder, rule
):
    root = write(tmp_path, v1(mount_root, path))
    directory = root / "sys/fs/cgroup/memory" / folder
    directory.mkdir(parents=True)
    group = find("memory", "memory.current", root)
    assert (group.directory, group.rule) == (directory, rule)
    assert list(group.lineage())[-1] == root / "sys/fs/cgroup/memory"


def test_the_least_limit_of_all_ancestors_counts(tmp_path):
    files = {
        "a/b/c/memory.current": "5\n",
        "a/b/c/memory.max": "max\n",
        "a/b/memory.max": "2000\n",
        "a/memory.max": "1000\n",
        "memory.max": "max\n",
        "a/b/c/cpu.max": "max 100000\n",
        "a/b/cpu.max": "50000 100000\n",
        "a/cpu.max": "400000 200000\n",
    }
    root = write(tmp_path, v2("/a/b/c", **files))
    top = root / "sys/fs/cgroup"
    memory, cpu = find("memory", "memory.current", root), find("cpu", "cpu.max", root)
    assert cgroup.memory_limit(memory) == Limit(1000, top / "a")
    assert cgroup.cpu_quota(cpu) == Limit(0.5, top / "a/b")


def test_a_limit_above_the_mount_is_known_from_the_kernel(tmp_path):
    stat = "rss 1\nhierarchical_memory_limit 500\n"
    files = {"memory.limit_in_bytes": f"{NONE_V1}\n", "memory.stat": stat}
    group = find("memory", "memory.current", write(tmp_path, v1("/x", "/x", **files)))
    assert cgroup.memory_limit(group).amount == 500


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_no_limit_is_known_for_any_page_size(tmp_path, page):
    files = {"memory.limit_in_bytes": f"{(2**63 - 1) // page * page}\n"}
    assert cgroup.memory_limit(find("memory", "", write(tmp_path, v1(**files)))) is None


@pytest.mark.parametrize("text", ["", "max", "max\n", "\n", "garbage\n", None])
def test_what_is_no_number_is_no_limit_and_not_zero(tmp_path, text):
    files = v2(**{"memory.current": "5\n"})
    if text is not None:
        files |= {"sys/fs/cgroup/memory.max": text, "sys/fs/cgroup/cpu.max": text}
    root = write(tmp_path, files)
    assert cgroup.memory_limit(find("memory", "memory.current", root)) is None
    group = find("memory", "memory.current", root)
    assert cgroup.cpu_quota(group) is None


@pytest.mark.parametrize(
    ("text", "cores"),
    [("50000 100000\n", 0.5), ("150000\n", 1.5), ("200000 50000\n", 4), ("100000 0\n", 1)],
)
def test_quotas_of_v2(tmp_path, text, cores):
    group = find("cpu", "cpu.max", write(tmp_path, v2(**{"cpu.max": text})))
    assert cgroup.cpu_quota(group).amount == cores


def test_shares_are_no_limit(tmp_path):
    files = {"cpu.weight": "10\n", "cpu.max": "max 100000\n", "cpu.shares": "2\n"}
    assert cgroup.cpu_quota(find("cpu", "cpu.max", write(tmp_path, v2(**files)))) is None


@pytest.mark.parametrize(
    ("text", "count"), [("0-3,7\n", 5), ("2\n", 1), ("\n", None), ("x", None), ("0,2-3\n", 3)]
)
def test_cpusets(tmp_path, text, count):
    group = find(
        "cpuset", "cpuset.cpus.effective", write(tmp_path, v2(**{"cpuset.cpus.effective": text}))
    )
    assert cgroup.cpuset_size(group) == count


def test_colons_escapes_and_copies_for_other_tools(tmp_path):
    files = {
        "proc/self/mountinfo": (
            "28 23 0:26 / /hostfs/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
            "29 23 0:26 / /mnt/c rw - cgroup2 cgroup2 rw\n"
            "30 23 0:26 / /sys/fs/cgroup/my\\040groups rw shared:4 - cgroup2 cgroup2 rw\n"
            "broken line\n"
        ),
        "proc/self/cgroup": "7:name=a:b,memory:/x\n0::/web:80:blue (deleted)\n",
        "sys/fs/cgroup/my groups/web:80:blue/memory.current": "5\n",
        "hostfs/sys/fs/cgroup/memory.current": "6\n",
    }
    root = write(tmp_path, files)
    group = find("memory", "memory.current", root)
    assert group.directory == root / "sys/fs/cgroup/my groups/web:80:blue"


def test_without_proc_there_is_no_group(tmp_path):
    assert find("memory", "memory.current", tmp_path) is None


def test_a_group_is_looked_for_again_when_it_is_gone_and_after_ten_minutes(tmp_path):
    root = write(tmp_path, v2("/a", **{"a__memory.current": "5\n", "b__memory.current": "6\n"}))
    clock = Clock()
    groups = Groups(root, clock)
    assert groups.of("memory", "memory.current").directory.name == "a"
    (root / "proc/self/cgroup").write_text("0::/b\n")
    clock.now += 599
    assert groups.of("memory", "memory.current").directory.name == "a"
    clock.now += 1
    assert groups.of("memory", "memory.current").directory.name == "b"
    (root / "proc/self/cgroup").write_text("0::/a\n")
    (root / "sys/fs/cgroup/b/memory.current").unlink()
    (root / "sys/fs/cgroup/b").rmdir()
    assert groups.of("memory", "memory.current").directory.name == "a"
