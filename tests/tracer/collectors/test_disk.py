import os

import pytest

from tests.support.host import Clock, write
from tracer.collectors.disk import Disk


def diskstats(device, read_sectors, write_sectors):
    major, minor = os.major(device), os.minor(device)
    return (
        "   7       0 loop0 9 9 999999 9 9 9 999999 9 0 9 9\n"
        f"  {major} {minor} vda 100 5 {read_sectors} 9 50 5 {write_sectors} 9 0 9 9 0 0 0 0 0 0\n"
        f"  {major} {minor + 1} vda1 100 5 77777777 9 50 5 77777777 9 0 9 9\n"
    )


def test_the_device_of_the_volume_is_read_alone_and_a_sector_has_512_bytes(tmp_path):
    device, clock = os.stat(tmp_path).st_dev, Clock()
    root = write(tmp_path / "root", {"proc/diskstats": diskstats(device, 1000, 2000)})
    disk = Disk(root, tmp_path, clock)
    assert disk.collect().values.get("disk_read_bytes") is None
    write(root, {"proc/diskstats": diskstats(device, 1010, 2100)})
    clock.now += 10
    values = disk.collect().values
    assert values["disk_read_bytes"] == 5120
    assert values["disk_write_bytes"] == 51200
    assert values["disk_read_bytes_per_s"] == 512.0
    assert values["disk_write_bytes_per_s"] == 5120.0


def test_space_is_counted_as_df_does(tmp_path):
    values = Disk(tmp_path, tmp_path).collect().values
    volume = os.statvfs(tmp_path)
    assert values["disk_total_bytes"] == volume.f_blocks * volume.f_frsize
    used, free = values["disk_used_bytes"], values["disk_free_bytes"]
    assert values["disk_percent"] == pytest.approx(100 * used / (used + free), abs=0.01)


@pytest.mark.parametrize("text", ["", "7 0 loop0 1 1 1 1 1 1 1\n", None])
def test_a_volume_without_a_row_of_its_own_has_no_figures_of_io(tmp_path, text):
    """A memory or overlay file system."""
    root = write(tmp_path / "root", {} if text is None else {"proc/diskstats": text})
    (tmp_path / "root").mkdir(exist_ok=True)
    clock = Clock()
    disk = Disk(root, tmp_path, clock)
    disk.collect()
    clock.now += 10
    values = disk.collect().values
    assert values.get("disk_write_bytes") is None
    assert values.get("disk_write_bytes_per_s") is None
    assert values["disk_total_bytes"] > 0


def test_a_folder_that_is_not_there_is_an_error_of_this_collector(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        Disk(tmp_path, tmp_path / "nowhere").collect()
