"""The volume: filled by others, by us, full at the start, gone read-only."""

import shutil
import subprocess

import pytest

from tests.support import wait_until
from tests.support.faults import (
    IS_LONG,
    amount,
    assert_kept,
    is_degraded,
    promised_more,
    seconds_until,
)
from tests.support.gunicorn import Gunicorn
from tests.support.load import Load
from tests.support.volumes import ext4, fill_up, tmpfs

pytestmark = pytest.mark.fault

VOLUMES = {"tmpfs": tmpfs, "ext4": ext4}


@pytest.fixture(params=VOLUMES)
def volume(request, tmp_path):
    with VOLUMES[request.param](tmp_path / "volume", 64) as folder:
        yield folder


def test_others_fill_the_volume_and_later_free_it(volume, figure):
    """Before it is full nothing is refused, then nothing is lost, and no restart is needed."""
    with (
        Gunicorn(volume.parent, TRACE_DB_PATH=str(volume / "trace.db")) as server,
        Load(server.port, per_s=200, size=2000) as load,
    ):
        server.database = volume / "trace.db"
        promised_more(load)
        heal_s = 0.0
        for _ in range(amount(1, 5)):
            filler = fill_up(volume)
            wait_until(lambda: is_degraded(server), 30)
            health = server.health()
            assert "no space left" in health["db_status"]
            assert not health["sqlite_ok"]
            status, answer = server.post("/v1/events", {"name": "n"})
            assert status == 503
            assert "no space left" in answer["errors"][0]["message"]
            filler.unlink()
            heal_s = max(heal_s, seconds_until(server.answers))
            promised_more(load)
        assert_kept(server, load, figure, heal_s=heal_s)


def test_we_fill_the_volume_and_go_on_by_deleting_the_oldest(volume, figure):
    with (
        Gunicorn(
            volume.parent,
            TRACE_DB_PATH=str(volume / "trace.db"),
            TRACE_MIN_DB_BYTES="4MB",
            TRACE_CLEANUP_INTERVAL="1h",
        ) as server,
        Load(server.port, per_s=1500, size=16000) as load,
    ):
        server.database = volume / "trace.db"
        enough = amount(4500, 15000)
        wait_until(lambda: len(load.promised) > enough, 300)
        assert_kept(server, load, figure)
        deleted = server.health()["events"]["rows"]["deleted"]
        assert deleted["volume_unpushed"] > 200


def test_we_reach_our_own_limit_and_go_on_by_deleting_the_oldest(tmp_path, figure):
    with (
        Gunicorn(tmp_path, TRACE_MAX_DB_BYTES="4MB", TRACE_CLEANUP_INTERVAL="1h") as server,
        Load(server.port, per_s=1000, size=8000) as load,
    ):
        enough = amount(2000, 10000)
        wait_until(lambda: len(load.promised) > enough, 300)
        size_mb = server.database.stat().st_size / 2**20
        assert size_mb < 9.5
        assert_kept(server, load, figure, file_mb=size_mb)
        assert server.health()["events"]["rows"]["deleted"]["size_unpushed"] > 500


@pytest.mark.skipif(not IS_LONG, reason="opening is tried again after 10 s only")
def test_a_start_on_a_full_volume_heals_when_space_returns(volume, figure):
    filler = fill_up(volume)
    server = Gunicorn(volume.parent, TRACE_DB_PATH=str(volume / "trace.db")).start()
    try:
        wait_until(lambda: is_degraded(server), 15)
        assert "no space left" in server.health()["db_status"]
        assert server.post("/v1/events", {"name": "n"})[0] == 503
        filler.unlink()
        heal_s = seconds_until(server.answers)
        assert server.post("/v1/events", {"name": "n"})[0] == 202
        figure(heal_s=round(heal_s, 1))
    finally:
        assert server.stop()[0] == 0


@pytest.mark.skipif(not IS_LONG, reason="opening is tried again after 10 s only")
def test_a_volume_that_goes_read_only(tmp_path, figure):
    """As the kernel does after an error of the disk; then it is repaired and mounted again."""
    folder = tmp_path / "volume"
    with (
        ext4(folder, 64),
        Gunicorn(tmp_path, TRACE_DB_PATH=str(folder / "trace.db")) as server,
        Load(server.port, per_s=100) as load,
    ):
        server.database = folder / "trace.db"
        promised_more(load)
        subprocess.run(["mount", "-o", "remount,abort", str(folder)], check=False)
        wait_until(lambda: is_degraded(server), 20)
        wait_until(lambda: "read-only" in server.health()["db_status"], 30)
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.copy(f"{folder}.img", tmp_path / "copy.img")
        subprocess.run(
            ["e2fsck", "-fy", str(tmp_path / "copy.img")], capture_output=True, check=False
        )
        subprocess.run(["mount", "-o", "loop", str(tmp_path / "copy.img"), str(folder)], check=True)
        heal_s = seconds_until(server.answers, 40)
        promised_more(load)
        assert_kept(server, load, figure, heal_s=heal_s)
