import pytest

from tests.support.host import Clock, write
from tracer.cgroup import Group
from tracer.collectors.pressure import Pressure


def psi(some, full=0):
    return (
        f"some avg10=1.00 avg60=0.00 avg300=0.00 total={some}\n"
        f"full avg10=9.00 avg60=0.00 avg300=0.00 total={full}\n"
    )


def tree(**totals):
    return {f"proc/pressure/{name}": psi(total, 10**9) for name, total in totals.items()}


def nothing():
    return None


def test_the_share_of_the_interval_in_which_some_task_waited(tmp_path):
    clock = Clock()
    root = write(tmp_path, tree(cpu=0, memory=500, io=10))
    pressure = Pressure(root, nothing, nothing, clock)
    assert set(pressure.collect().values.values()) == {None}
    write(root, tree(cpu=2_000_000, memory=500, io=9))
    clock.now += 10
    assert pressure.collect().values == {
        "psi_cpu_percent": 20.0,
        "psi_mem_percent": 0.0,
        "psi_io_percent": None,  # began anew
    }


@pytest.mark.parametrize(
    "files", [{}, {"proc/pressure/cpu": ""}, {"proc/pressure/cpu": "full avg10=0 total=5\n"}]
)
def test_a_kernel_without_it_gives_no_value(tmp_path, files):
    """Before 4.20 there is no file, with psi=0 reading it fails; irq.pressure has only `full`."""
    clock = Clock()
    pressure = Pressure(write(tmp_path, files), nothing, nothing, clock)
    pressure.collect()
    clock.now += 10
    assert set(pressure.collect().values.values()) == {None}


def test_a_file_that_exists_and_refuses_to_be_read(tmp_path):
    (tmp_path / "proc/pressure/cpu").mkdir(parents=True)
    assert Pressure(tmp_path, nothing, nothing).collect().values["psi_cpu_percent"] is None


def test_a_v2_group_has_its_own_and_a_v1_group_that_of_the_host(tmp_path):
    clock = Clock()
    root = write(
        tmp_path, tree(cpu=0, memory=0, io=0) | {"g/cpu.pressure": psi(0), "g/io.pressure": psi(0)}
    )
    v2, v1 = Group(2, root / "g", root / "g", ""), Group(1, root / "g", root / "g", "")
    pressure = Pressure(root, lambda: v2, lambda: v1, clock)
    pressure.collect()
    write(root, {"g/cpu.pressure": psi(5_000_000), "g/io.pressure": psi(7_000_000)})
    clock.now += 10
    values = pressure.collect().values
    assert values["psi_cpu_percent"] == 50.0
    assert values["psi_io_percent"] == 0.0
