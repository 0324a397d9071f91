"""A bad store at the start: what is moved aside, what is left alone and explained, what goes on."""

import os
import random
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.rows import fill, query
from tests.support.volumes import fill_up, remount, tmpfs
from tracer import opening, store_file
from tracer.errors import StoreError, StoreLocked
from tracer.events import CustomEvent
from tracer.store import Store

PAGE = 4096


@pytest.fixture
def path(tmp_path, decoders):
    """A closed database of ours with 300 rows."""
    store = Store(tmp_path / "trace.db", synchronous="full")
    store.open()
    fill(store, decoders, CustomEvent, 300, 1000, size=500)
    store.close()
    store.ballast.release()
    return store.path


def overwrite(path, at, content):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def opened(path):
    store = Store(path, synchronous="full")
    try:
        store.open()
    except StoreError:
        store.close()
        raise
    return store


def snapshot(folder):
    return {
        p.name: (p.read_bytes() if p.is_file() else None, stat.S_IMODE(p.lstat().st_mode))
        for p in folder.iterdir()
        if p.name != "trace.db.lock"
    }


def noise(size):
    return random.Random(1).randbytes(size)


DAMAGED = {
    "garbage": lambda p: p.write_bytes(noise(50_000)),
    "text": lambda p: p.write_bytes(b"not a database at all\n" * 500),
    "a zeroed first page": lambda p: overwrite(p, 0, bytes(PAGE)),
    "a future file format": lambda p: overwrite(p, 18, b"\x09\x09"),
    "a wrong header": lambda p: overwrite(p, 0, b"SQLite format 9\0"),
    "cut short": lambda p: os.truncate(p, 5 * PAGE + 100),
    "random pages": lambda p: overwrite(p, 2 * PAGE, noise(20 * PAGE)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path, damage):
    DAMAGED[damage](path)
    store = opened(path)
    try:
        assert "moved aside" in store.notices[0]
        assert query(store, "SELECT count(*) FROM custom_events") == [(0,)]
        assert store_file.find_quarantined(path) == store.quarantined
    finally:
        store.close()


@pytest.mark.parametrize("content", [b"", None])
def test_a_missing_or_empty_file_is_created(tmp_path, content):
    path = tmp_path / "new" / "trace.db"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    store = opened(path)
    try:
        assert store.notices == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        store.close()


@pytest.mark.parametrize("kept_ratio", [0, 0.8])
def test_of_a_damaged_log_the_valid_part_is_kept(tmp_path, decoders, kept_ratio):
    store = opened(tmp_path / "trace.db")
    fill(store, decoders, CustomEvent, 300, 1000, size=500)
    wal, main = store.wal_path.read_bytes(), store.path.read_bytes()
    written = len(wal.rstrip(b"\0"))  # the log is made longer than it need be
    at = int(kept_ratio * written)
    store.close()
    store.path.write_bytes(main)
    store.wal_path.write_bytes(wal[:at] + noise(len(wal) - at))
    store = opened(store.path)
    try:
        assert store.notices == []
        (count,) = query(store, "SELECT count(*) FROM custom_events")[0]
        assert (0 < count < 300) if at else count == 0
    finally:
        store.close()


def test_a_link_is_followed_once_so_all_files_are_beside_the_database(path, tmp_path, decoders):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.db"
    link.symlink_to(path)
    store = opened(link)
    try:
        fill(store, decoders, CustomEvent, 1, 1000)
        assert [file.name for file in folder.iterdir()] == ["link.db"]
        assert store_file.had_unclean_stop(store.path)
        with pytest.raises(StoreLocked):
            opened(path)
    finally:
        store.close()
    overwrite(path, 0, bytes(PAGE))
    store = opened(link)
    try:
        assert link.is_symlink()
        assert store.quarantined.parent == path.parent
    finally:
        store.close()


def directory_as_database(path):
    path.unlink()
    path.mkdir()


def directory_as_log(path):
    store_file_wal = path.with_name(path.name + "-wal")
    store_file_wal.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def dangling_link(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere" / "trace.db")


def newer_version(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def no_version(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


def someone_elses_without_tables(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")


def other_schema(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE custom_events")


def someone_elses(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE guests (name TEXT)")


def someone_elses_with_a_log(path):
    someone_elses(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("INSERT INTO guests VALUES ('x')")
        connection.commit()


def someone_elses_with_an_id(path):
    someone_elses(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1234")


LEFT_ALONE = {
    directory_as_database: "trace.db is not a file",
    pipe: "trace.db is not a file",
    directory_as_log: "trace.db-wal is not a file",
    dangling_link: "a link to a file that does not exist",
    newer_version: "schema version 99",
    no_version: "schema version 0",
    someone_elses_without_tables: "another program's database",
    other_schema: "no such table",
    someone_elses: "another program's database",
    someone_elses_with_a_log: "another program's database",
    someone_elses_with_an_id: "another program's database",
}


@pytest.mark.parametrize("prepare", LEFT_ALONE, ids=lambda p: p.__name__)
def test_what_is_not_ours_to_open_is_explained_and_left_as_it_was(path, prepare):
    prepare(path)
    if path.is_file():
        path.chmod(0o640)
    before = snapshot(path.parent)
    for _ in range(2):  # it is tried again every 10 s
        with pytest.raises(StoreError, match=LEFT_ALONE[prepare]):
            opened(path)
    after = snapshot(path.parent)
    if prepare in (newer_version, other_schema):
        assert not any("corrupt" in name for name in after)
    else:
        assert after == before


def test_one_that_another_program_holds_is_waited_for_then_explained(path, monkeypatch):
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another program"):
            opened(path)
    opened(path).close()


@pytest.fixture
def open_to_all(path):
    """The database in a folder that others can reach, as pytest's cannot."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield shutil.copy(path, folder)


@pytest.mark.parametrize(
    ("folder_mode", "words"),
    [(0o555, "no permission to write in"), (0o777, "no permission to read and write")],
)
def test_without_permission_it_is_named(open_to_all, folder_mode, words):
    path = Path(open_to_all)
    path.chmod(0o600)
    path.parent.chmod(folder_mode)
    assert explained_to_a_stranger(path).startswith(words)


def explained_to_a_stranger(path):
    """What a process of another user is told."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            opened(path)
            told = "opened"
        except BaseException as error:
            told = str(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    os.close(writer)
    return told


def test_a_read_only_volume_is_named_and_works_again_later(tmp_path, path):
    with tmpfs(tmp_path / "volume", 32) as folder:
        moved = folder / "trace.db"
        shutil.copy(path, moved)
        remount(folder, "ro")
        with pytest.raises(StoreError, match="mounted read-only"):
            opened(moved)
        remount(folder, "rw")
        opened(moved).close()


def test_on_a_full_volume_the_ballast_makes_opening_possible(tmp_path, decoders):
    with tmpfs(tmp_path / "volume", 32) as folder:
        store = opened(folder / "trace.db")
        fill(store, decoders, CustomEvent, 50, 1000)
        assert store.ballast.is_held()
        store.close()
        fill_up(folder)
        store = opened(folder / "trace.db")
        fill(store, decoders, CustomEvent, 50, 1000)
        assert not store.ballast.is_held()
        store.close()


def test_on_a_full_volume_without_ballast_the_cause_is_named(tmp_path):
    with tmpfs(tmp_path / "volume", 8) as folder:
        filler = fill_up(folder)
        with pytest.raises(StoreError, match="no space left"):
            opened(folder / "trace.db")
        filler.unlink()
        opened(folder / "trace.db").close()
