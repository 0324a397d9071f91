"""Small volumes of their own, for faults of the disk. Skips where mounting is not allowed."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


def _run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError as error:
        pytest.skip(f"{command[0]}: {error.strerror}")


@contextmanager
def tmpfs(folder, size_mb):
    """A volume in memory."""
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs"):
        yield folder


@contextmanager
def ext4(folder, size_mb):
    """A volume in a file, with a journal and with blocks reserved for root, as real ones have."""
    image = Path(f"{folder}.img")
    with image.open("wb") as file:
        file.truncate(size_mb << 20)
    made = _run("mkfs.ext4", "-q", "-F", str(image))
    if made.returncode:
        pytest.skip(made.stderr.strip())
    with _mounted(folder, "-o", "loop", str(image)):
        yield folder
    image.unlink()


@contextmanager
def _mounted(folder, *how):
    folder.mkdir(exist_ok=True)
    if os.geteuid():
        pytest.skip("mounting takes root")
    done = _run("mount", *how, str(folder))
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        _run("umount", "-l", str(folder))


def remount(folder, mode):
    """`ro` or `rw`, also while files are open."""
    done = _run("mount", "-o", f"remount,{mode}", str(folder))
    assert done.returncode == 0, done.stderr


def fill_up(folder, leave_bytes=0):
    """A file of somebody else that takes all but so many bytes; its path."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        left = shutil.disk_usage(folder).free - leave_bytes
        try:
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 16)))
        except OSError:
            pass
    if leave_bytes == 0:  # the last odd blocks
        with filler.open("ab", buffering=0) as file:
            for size in (4096, 512, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    pass
    return filler
