"""Following real files, with a real writer and database behind: no line lost, none twice."""

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
import threading
import time

import pytest

from tests.support import wait_until
from tests.support.gunicorn import PROJECT
from tracer import log_files, tailer
from tracer.intake import Intake
from tracer.ledger import Ledger
from tracer.openclaw_log import GatewayLog
from tracer.store import Store
from tracer.tailer import Tailer
from tracer.timestamps import now_ms
from tracer.worker import Worker
from tracer.writer import Writer

READY = "config change detected; evaluating reload ({})"


def line(number, message=READY, subsystem="gateway/reload"):
    """A line that becomes one event, in the gateway's own form."""
    meta = {"name": json.dumps({"subsystem": subsystem}), "logLevelName": "INFO"}
    text = message.format(f"line.{number}")
    return json.dumps({"0": "", "1": text, "_meta": meta, "time": iso(), "message": text}) + "\n"


def iso():
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime())
        + f"{time.time_ns() % 10**9 // 10**6:03}Z"
    )


class Rig:
    """A writer on a real database and a tailer stepped by hand, which can be killed."""

    def __init__(self, folder, decoders, pattern):
        self.path = folder / "trace.db"
        self.pattern = str(pattern)
        self.decoders = decoders
        self.ledger = Ledger()
        self.store = Store(self.path, synchronous="normal")
        self.intake = Intake(self.ledger, capacity=100, max_bytes=10**7, batch_size=50)
        self.writer = Writer(self.store, self.intake, window_s=0.05, report=lambda _: None)
        self.worker = Worker("writer", at_stop=self.writer.finish, wake=self.intake.wake)
        self.worker.every(0, self.writer.run_once)
        self.worker.start()
        wait_until(lambda: self.writer.database_status == "ok")
        self.tailer = self.new_tailer()

    def new_tailer(self):
        return Tailer(self.pattern, self.decoders, self.intake, self.ledger, self.writer.perform)

    def step(self, times=1):
        for _ in range(times):
            assert self.tailer.run_once() is None

    def kill(self):
        """A new process: nothing but the database is left."""
        self.tailer._files.close()
        self.tailer = self.new_tailer()

    def restart(self):
        self.tailer.finish(time.monotonic() + 5)
        self.tailer = self.new_tailer()

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as reader:
            return [row[0] for row in reader.execute(sql)]

    def numbers(self):
        """The numbers of the lines that were stored, in order."""
        paths = self.rows("SELECT metadata ->> 'paths' FROM custom_events ORDER BY id")
        return [int(path.removeprefix("line.")) for path in paths]

    def close(self):
        self.tailer._files.close()
        self.worker.stop(time.monotonic() + 5)


@pytest.fixture
def rig(tmp_path, decoders):
    logs = tmp_path / "logs"
    logs.mkdir()
    made = Rig(tmp_path, decoders, logs / "openclaw-*.log")
    made.logs = logs
    made.log = logs / "openclaw-2026-11-22.log"
    yield made
    made.close()


@pytest.fixture
def single(tmp_path, decoders):
    """One file by name, as `logging.file` gives it."""
    made = Rig(tmp_path, decoders, tmp_path / "openclaw.log")
    made.log = tmp_path / "openclaw.log"
    yield made
    made.close()


def write(path, *numbers):
    with path.open("a") as file:
        file.writelines(line(number) for number in numbers)


def test_lines_arrive_once_and_in_order_with_their_time(rig):
    write(rig.log, 1, 2)
    rig.step(2)
    write(rig.log, 3)
    rig.step(2)
    assert rig.numbers() == [1, 2, 3]
    created = rig.rows("SELECT created_at FROM custom_events")
    assert all(abs(at - now_ms()) < 60_000 for at in created)


def test_a_log_that_comes_later_is_found_and_its_absence_told(rig):
    rig.step()
    assert "no file matches" in rig.tailer.warnings()[0]
    write(rig.log, 1)
    rig.step()
    assert rig.numbers() == [1]
    assert rig.tailer.warnings() == []


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_restart_loses_and_doubles_nothing(rig, way):
    for number in range(1, 30):
        write(rig.log, number)
        if number % 3:
            rig.step()
        if number % 4 == 0:
            getattr(rig, way)()
    rig.step()
    assert rig.numbers() == list(range(1, 30))


def test_killed_between_commit_and_position_it_makes_the_same_events_again(rig, monkeypatch):
    write(rig.log, 1, 2)
    rig.step()
    monkeypatch.setattr(rig.tailer, "_save", lambda: None)
    write(rig.log, 3, 4)
    rig.step()
    rig.kill()
    write(rig.log, 5)
    rig.step()
    assert rig.numbers() == [1, 2, 3, 4, 5]
    assert rig.ledger.counts()["duplicate"] == 2


def test_what_is_open_at_a_restart_is_told_once(rig):
    """The first lines of a failing run are read before the restart, its outcome after it."""
    captured = PROJECT / "tests/captures/logs/2026.9.6.jsonl"
    lines = captured.read_bytes().splitlines(keepends=True)
    for number in range(0, len(lines), 7):
        with rig.log.open("ab") as file:
            file.writelines(lines[number : number + 7])
        rig.step()
        rig.restart()
    failures = rig.rows(
        "SELECT metadata ->> 'count' FROM error_events WHERE error_type = 'llm_error' ORDER BY id"
    )
    assert failures == [8, 9, 1]
    assert rig.rows("SELECT count(*) FROM error_events WHERE error_type = 'crash'") == [0]


def test_rotation_by_size_never_reads_an_archive_again(rig):
    write(rig.log, 1)
    rig.step()
    write(rig.log, 2)
    rig.log.rename(rig.logs / "openclaw-2026-11-22.1.log")
    write(rig.log, 3)
    rig.step()
    rig.restart()
    rig.step()
    assert rig.numbers() == [1, 2, 3]


def test_two_rotations_while_it_was_down(single):
    write(single.log, 1)
    single.step()
    write(single.log, 2)
    single.restart()
    single.log.rename(single.log.with_name("openclaw.2.log"))
    write(single.log, 3)
    single.log.rename(single.log.with_name("openclaw.1.log"))
    write(single.log, 4)
    single.step()
    assert sorted(single.numbers()) == [1, 2, 3, 4]


def test_archives_from_before_the_first_start_are_left_alone(rig):
    write(rig.logs / "openclaw-2026-11-22.1.log", 1)
    write(rig.log, 2)
    rig.step()
    rig.restart()
    rig.step()
    assert rig.numbers() == [2]


def test_midnight_with_a_second_process_on_the_old_file(rig):
    write(rig.log, 1)
    rig.step()
    new = rig.logs / "openclaw-2026-11-23.log"
    write(new, 2)
    write(rig.log, 3)
    rig.step()
    write(rig.log, 4)
    write(new, 5)
    rig.step()
    assert sorted(rig.numbers()) == [1, 2, 3, 4, 5]


def test_copy_and_truncate(single):
    write(single.log, 1, 2)
    single.step()
    write(single.log, 3)  # read from the copy: the truncation comes before the next look
    shutil.copy(single.log, single.log.with_name("openclaw.log.1"))
    os.truncate(single.log, 0)
    write(single.log, 4)
    single.step()
    write(single.log, 5, 6, 7, 8)
    single.step()
    assert sorted(single.numbers()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_truncated_file_that_is_longer_than_before(single):
    write(single.log, 1)
    single.step()
    os.truncate(single.log, 0)
    write(single.log, 2, 3, 4)
    single.step()
    assert single.numbers() == [1, 2, 3, 4]


def test_a_truncation_between_two_looks_at_the_file(single, monkeypatch):
    """The chunk read is that of the new content, at the place of the old."""
    write(single.log, 1, 2)
    single.step()
    write(single.log, 3)
    read = os.pread

    def swap_first(descriptor, size, start):
        if size == log_files.CHUNK_BYTES:
            monkeypatch.setattr(log_files.os, "pread", read)
            os.truncate(single.log, 0)
            write(single.log, 4, 5, 6, 7)
        return read(descriptor, size, start)

    monkeypatch.setattr(log_files.os, "pread", swap_first)
    single.step(2)
    assert single.numbers() == [1, 2, 4, 5, 6, 7]


def test_a_writer_that_does_not_notice_the_truncation_leaves_a_hole(single):
    with single.log.open("w") as file:
        file.writelines([line(1), line(2)] * 2000)
        file.flush()
        single.step()
        os.truncate(single.log, 0)
        file.write(line(3))
        file.flush()
        single.step()
        file.write(line(4))
        file.flush()
        single.step()
    assert single.numbers()[-2:] == [3, 4]


def test_deletion_and_a_new_file(rig):
    write(rig.log, 1)
    rig.step()
    write(rig.log, 2)
    rig.log.unlink()
    rig.step()
    write(rig.log, 3)
    rig.step()
    assert rig.numbers() == [1, 2, 3]


def test_a_writer_that_goes_on_in_a_deleted_file(rig):
    with rig.log.open("a") as file:
        file.write(line(1))
        file.flush()
        rig.step()
        rig.log.unlink()
        rig.step()
        file.write(line(2))
        file.flush()
        rig.step()
    assert rig.numbers() == [1, 2]


def test_files_that_are_gone_are_closed(rig, monkeypatch):
    write(rig.log, 1)
    rig.step()
    monkeypatch.setattr(log_files, "GONE_S", -1.0)
    rig.log.unlink()
    rig.step()
    assert rig.tailer._files._files == {}


def test_a_symbolic_link_that_is_swapped(tmp_path, single):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    write(first, 1)
    single.log.symlink_to(first)
    single.step()
    write(first, 2)
    write(second, 3)
    single.log.unlink()
    single.log.symlink_to(second)
    single.step()
    write(second, 4)
    single.step()
    assert sorted(single.numbers()) == [1, 2, 3, 4]


def test_a_line_that_comes_in_pieces(rig):
    text = line(1)
    with rig.log.open("a") as file:
        for piece in (text[:10], text[10:50], text[50:-1]):
            file.write(piece)
            file.flush()
            rig.step()
            assert rig.numbers() == []
        rig.restart()
        file.write("\n" + line(2))
        file.flush()
        rig.step()
    assert rig.numbers() == [1, 2]


def test_a_line_of_10_mb_is_passed_over_in_bounded_memory(rig):
    write(rig.log, 1)
    with rig.log.open("a") as file:
        file.write("x" * 10_000_000)
        file.flush()
        rig.step()
        rig.restart()
        file.write("y" * 1000 + "\n" + line(2))
    rig.step()
    assert rig.numbers() == [1, 2]


def test_binary_garbage_costs_only_itself(rig):
    write(rig.log, 1)
    with rig.log.open("ab") as file:
        file.write(os.urandom(100_000) + b"\n")
    write(rig.log, 2)
    rig.step()
    assert rig.numbers() == [1, 2]


def test_a_fault_of_ours_costs_one_line(rig, monkeypatch):
    feed = GatewayLog.feed

    def stumble(self, text, where, now):
        if b"line.2)" in text:
            raise ZeroDivisionError
        return feed(self, text, where, now)

    monkeypatch.setattr(GatewayLog, "feed", stumble)
    write(rig.log, 1, 2, 3)
    rig.step()
    assert rig.numbers() == [1, 3]


def test_a_log_that_nobody_understands_is_told(rig):
    rig.log.write_text('{"level":"info","msg":"not ours"}\n' * (tailer.UNKNOWN_LINES - 1))
    rig.step()
    assert rig.tailer.warnings() == []
    rig.log.write_text('{"level":"info","msg":"not ours"}\n' * tailer.UNKNOWN_LINES)
    rig.step()
    assert "match nothing" in rig.tailer.warnings()[0]
    write(rig.log, 1)
    rig.step()
    assert rig.tailer.warnings() == []


def test_a_log_that_may_not_be_read_is_told(rig, monkeypatch):
    write(rig.log, 1)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log_files.os, "open", refuse)
    rig.step()
    assert "Permission denied" in rig.tailer.warnings()[0]


def test_with_a_full_queue_nothing_is_read_and_nothing_refused(rig):
    rig.step()
    gate = threading.Event()
    blocker = threading.Thread(target=rig.writer.perform, args=(lambda _: gate.wait(10),))
    blocker.start()
    write(rig.log, *range(1, 500))
    assert rig.tailer.run_once() is not None
    lines_read = rig.tailer.lines
    assert rig.tailer.run_once() is not None
    assert rig.tailer.lines == lines_read
    gate.set()
    blocker.join()
    wait_until(lambda: rig.tailer.run_once() is None)
    assert rig.numbers() == list(range(1, 500))
    assert rig.ledger.counts()["rejected"] == {}


def test_more_events_than_the_queue_holds_go_in_pieces(rig):
    write(rig.log, *range(1, 1000))
    rig.step()
    assert rig.numbers() == list(range(1, 1000))
    assert rig.ledger.counts()["rejected"] == {}


def test_profiles_have_a_life_of_their_own(rig):
    for name in ("openclaw-2026-11-22.log", "openclaw-work-2026-11-22.log"):
        with (rig.logs / name).open("a") as file:
            file.write(line(0, "loading configuration…", "gateway"))
    rig.step()
    assert rig.rows("SELECT count(*) FROM custom_events WHERE name = 'gateway.start'") == [2]
    assert rig.rows("SELECT count(*) FROM error_events") == [0]


class Producer(threading.Thread):
    """Rotates as OpenClaw does: to .1.log, older archives one up, the sixth deleted. It waits only
    before it deletes what was not read: not even a perfect reader could have that.
    """

    LINES = 20

    def __init__(self, rig, rotations):
        super().__init__(daemon=True)
        self.rig, self.rotations, self.written = rig, rotations, 0

    def run(self):
        for _ in range(self.rotations):
            for _line in range(self.LINES):
                self.written += 1
                write(self.rig.log, self.written)
            while not self.may_rotate():
                time.sleep(0.001)
            for number in range(4, 0, -1):
                if self.archive(number).exists():
                    self.archive(number).replace(self.archive(number + 1))
            self.rig.log.replace(self.archive(1))

    def archive(self, number):
        return self.rig.logs / f"openclaw-2026-11-22.{number}.log"

    def may_rotate(self):
        last = self.written - 5 * self.LINES
        pattern = f"'%line.{last}\"%'"
        return last <= 0 or self.rig.rows(
            f"SELECT count(*) FROM custom_events WHERE metadata LIKE {pattern}"
        ) == [1]


def test_200_rotations_under_load_with_restarts(rig):
    rig.step()
    producer = Producer(rig, 200)
    producer.start()
    deadline = time.monotonic() + 60
    for step in itertools.count():
        if not producer.is_alive() or time.monotonic() > deadline:
            break
        rig.step()
        if step % 10 == 9:
            rig.restart()
    rig.step(2)
    found = rig.numbers()
    assert len(found) == len(set(found))
    assert set(found) == set(range(1, 200 * Producer.LINES + 1))
