import os
import stat

from tests.support.volumes import fill_up, tmpfs
from tracer.ballast import KEPT_LOG_BYTES, Ballast, kept_log_bytes


def test_it_takes_real_space_and_gives_it_back(tmp_path):
    ballast = Ballast(tmp_path / "trace.db")
    ballast.take()
    found = os.stat(tmp_path / "trace.db.ballast")
    assert found.st_blocks * 512 >= ballast.size_bytes == KEPT_LOG_BYTES * 5 // 4
    assert stat.S_IMODE(found.st_mode) & 0o077 == 0
    assert ballast.is_held()
    ballast.release()
    ballast.release()
    assert not ballast.is_held()


def test_one_that_was_cut_short_does_not_count(tmp_path):
    ballast = Ballast(tmp_path / "trace.db")
    (tmp_path / "trace.db.ballast").write_bytes(b"x")
    assert not ballast.is_held()
    ballast.take()
    assert ballast.is_held()


def test_on_a_tiny_volume_it_is_small_and_on_a_full_one_it_is_not_made(tmp_path):
    with tmpfs(tmp_path / "volume", 8) as folder:
        ballast = Ballast(folder / "trace.db")
        assert kept_log_bytes(folder) == 1 << 20
        filler = fill_up(folder, leave_bytes=2 << 20)
        ballast.take()
        assert not ballast.is_held()
        ballast.release_if_full()
        filler.unlink()
        ballast.take()
        ballast.release_if_full()
        assert ballast.is_held()
        fill_up(folder)
        ballast.release_if_full()
        assert not ballast.is_held()
