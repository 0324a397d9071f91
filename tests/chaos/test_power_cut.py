"""A power cut: the writes of a real run are traced, and images made of what may be on the disk."""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.support.faults import amount
from tests.support.gunicorn import PROJECT
from tracer.store import Store

pytestmark = pytest.mark.fault

SECTOR = 512
MODES = ("synced only", "prefix", "random subset", "torn")
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += +(-?\d+)")


def traced_run(path, batches):
    """strace's lines of one run."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = path.with_suffix(".strace")
    calls = "openat,close,write,pwrite64,ftruncate,fallocate,fdatasync,fsync,unlink,rename"
    command = [
        *("strace", "-f", "-xx", "-s", "1000000", "-e", f"trace={calls}", "-e", "signal=none"),
        *("-o", str(log), sys.executable, "-m", "tests.chaos.crash_writer", str(path)),
    ]
    run = subprocess.run(
        [*command, str(batches)], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    if run.returncode:
        pytest.skip(f"strace: {run.stderr.strip()[-200:]}")
    return log.read_text().splitlines()


def unquote(text):
    return bytes.fromhex(text.strip().strip('"').replace("\\x", ""))


def operations(lines, folder):
    """(`write`, file, offset, bytes), (`cut`, file, size), (`sync`, file), (`acked`, number)."""
    names, result = {}, []
    for line in lines:
        match = CALL.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments, value = match[1], match[2], int(match[3])
        parts = arguments.split(", ")
        if call == "openat":
            name = unquote(parts[1]).decode()
            names[value] = os.path.basename(name) if os.path.dirname(name) == str(folder) else None
        elif call == "write" and parts[0] == "1":
            result.append(("acked", int(unquote(parts[1]).split()[1])))
        elif call == "pwrite64" and names.get(int(parts[0])):
            result.append(("write", names[int(parts[0])], int(parts[3]), unquote(parts[1])))
        elif call == "ftruncate" and names.get(int(parts[0])):
            result.append(("cut", names[int(parts[0])], int(parts[1])))
        elif call == "fallocate" and names.get(int(parts[0])):
            result.append(("grow", names[int(parts[0])], int(parts[2]) + int(parts[3])))
        elif call in ("fdatasync", "fsync") and names.get(int(parts[0])):
            result.append(("sync", names[int(parts[0])]))
    return [op for op in result if op[0] == "acked" or op[1] in ("trace.db", "trace.db-wal")]


def apply(files, op, rng, mode):
    content = files.setdefault(op[1], bytearray())
    if op[0] == "cut":
        del content[op[2] :]
        content.extend(bytes(op[2] - len(content)))
    elif op[0] == "grow":
        content.extend(bytes(max(0, op[2] - len(content))))
    else:
        offset, data = op[2], op[3]
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        if mode != "torn":
            content[offset : offset + len(data)] = data
            return
        for start in range(0, len(data), SECTOR):
            if rng.random() < 0.5:
                piece = data[start : start + SECTOR]
                content[offset + start : offset + start + len(piece)] = piece


def image(ops, end, mode, rng):
    """The files as they may be after a cut before operation `end`, and the last number acked."""
    files, pending, acked = {}, [], 0
    for op in ops[:end]:
        if op[0] == "acked":
            acked = op[1]
        elif op[0] == "sync":
            for done in [p for p in pending if p[1] == op[1]]:
                apply(files, done, rng, "whole")
            pending = [p for p in pending if p[1] != op[1]]
        else:
            pending.append(op)
    if mode == "prefix":
        pending = pending[: rng.randint(0, len(pending))]
    elif mode == "random subset":
        pending = [p for p in pending if rng.random() < 0.5]
    elif mode == "synced only":
        pending = []
    for op in pending:
        apply(files, op, rng, mode)
    return files, acked


def test_what_was_committed_survives_a_power_cut(tmp_path, figure):
    folder = tmp_path / "run"
    folder.mkdir()
    ops = operations(traced_run(folder / "trace.db", amount(60, 400)), folder)
    assert any(op[0] == "sync" for op in ops)
    rng = random.Random(7)
    first = next(i for i, op in enumerate(ops) if op[0] == "acked")
    cuts = lost = corrupt = 0
    for number in range(amount(24, 400)):
        mode = MODES[number % len(MODES)]
        files, acked = image(ops, rng.randint(first + 1, len(ops)), mode, rng)
        target = tmp_path / f"cut-{number}"
        target.mkdir()
        for name, content in files.items():
            (target / name).write_bytes(content)
        store = Store(target / "trace.db", synchronous="full")
        store.open()
        corrupt += len(store.notices)
        stored = store.row_counts.get("stored", 0)
        store.close()
        with closing(sqlite3.connect(target / "trace.db")) as connection:
            numbers = {int(n) for (n,) in connection.execute("SELECT name FROM custom_events")}
            corrupt += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
        lost += len(set(range(1, acked + 1)) - numbers)
        assert stored == len(numbers), "the counters are those of the rows"
        cuts += 1
        shutil.rmtree(target)
    figure(cuts=cuts, operations=len(ops), rows_lost=lost, corrupt=corrupt)
    assert (lost, corrupt) == (0, 0)
