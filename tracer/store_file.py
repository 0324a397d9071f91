"""The database as a file: its lock, its mode, what is wrong with it, and setting it aside.

Never opens the database file while SQLite has it open: closing it would drop SQLite's locks.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracer import volume
from tracer.errors import StoreError, StoreLocked

_CORRUPTION: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_NO_SPACE: Final = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")

COMPANIONS: Final = ("-wal", "-shm")


class InstanceLock:
    """`flock` on `<database>.lock`: one instance per database. Taken after the fork, by the worker,
    since a lock on an inherited descriptor would be granted to parent and child alike.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Returns at once. Raises StoreLocked, or StoreError when the lock file cannot be made."""
        if self._descriptor is not None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(explain(self._path, error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreLocked(f"locked by another running instance ({self._path})") from None
        self._descriptor = descriptor

    def close(self) -> None:
        """Releases the lock; the file stays, or two instances could lock different files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def create_private(path: Path) -> None:
    """Creates the file with mode 0600, which SQLite gives its companions too; one that is there
    is left as it is.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def require_file(path: Path) -> None:
    """Raises StoreError for a pipe, which would never open, and for a device, whose mode is not
    ours to change.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is not a file")


def resolved(path: Path) -> Path:
    """Where SQLite puts the log and the rest of us the lock: beside the file, not beside a link."""
    return path.resolve() if path.is_symlink() and path.exists() else path


def make_private(path: Path) -> None:
    """Gives the file, which must be ours, mode 0600."""
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def reserve(path: Path, size_bytes: int) -> bool:
    """Lets a file of ours that is there grow to that size, really allocated; whether it has it.

    Not for the database itself. What is added reads as zeros.
    """
    try:
        if path.stat().st_size < size_bytes:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.posix_fallocate(descriptor, 0, size_bytes)
            finally:
                os.close(descriptor)
    except OSError:
        return False
    return True


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file, None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def had_unclean_stop(path: Path) -> bool:
    """Whether the last one who wrote did not close the database: its log is still there."""
    return size_bytes(path, "-wal") > 0


def size_bytes(path: Path, companion: str = "") -> int:
    """Size of the file, or of its `-wal`; 0 where there is none."""
    try:
        return os.stat(f"{path}{companion}").st_size
    except OSError:
        return 0


def quarantine(path: Path) -> Path:
    """Moves a damaged database aside, with its write-ahead log; where to. Older ones are removed.

    Raises OSError when the folder does not let it. SQLite must not have the file open.
    """
    remove_quarantined(path)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f".corrupt-{moment}{more}" for more in ("", *(f"-{n}" for n in range(2, 100))))
    suffix = next(name for name in names if not path.with_name(path.name + name).exists())
    aside = path.with_name(path.name + suffix)
    os.rename(path, aside)
    for companion in COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            os.rename(source, path.with_name(path.name + suffix + companion))
    return aside


def remove_quarantined(path: Path) -> int:
    """Removes what was moved aside; how many bytes that gave back. Never raises."""
    freed = 0
    for aside in _quarantined_files(path):
        with contextlib.suppress(OSError):
            size = aside.stat().st_size
            aside.unlink()
            freed += size
    return freed


def find_quarantined(path: Path) -> Path | None:
    """The database that was moved aside last, if it is still there."""
    return max(
        (p for p in _quarantined_files(path) if not p.name.endswith(COMPANIONS)), default=None
    )


def _quarantined_files(path: Path) -> Iterator[Path]:
    prefix = f"{path.name}.corrupt-"
    return (file for file in path.parent.iterdir() if file.name.startswith(prefix))


def error_names(error: BaseException) -> Iterator[str]:
    """SQLite's names for an error and what it hides: Peewee masks "full" by "cannot rollback"."""
    link: BaseException | None = error
    while link is not None:
        name = getattr(link, "sqlite_errorname", None)
        if name:
            yield name
        link = link.__cause__ or link.__context__


def is_corruption(error: BaseException) -> bool:
    """Whether SQLite says that the file is damaged or no database."""
    return any(name.startswith(_CORRUPTION) for name in error_names(error))


def is_no_space(error: BaseException) -> bool:
    """Whether the volume is full, or the database has reached its own limit."""
    return (
        any(name in _NO_SPACE for name in error_names(error))
        or getattr(error, "errno", None) == errno.ENOSPC
    )


def explain(path: Path, error: BaseException) -> str:
    """The cause in words. SQLite has one code for many causes, so look at the file as well."""
    names = list(error_names(error))
    if is_corruption(error):
        return f"the database is damaged ({error})"
    if is_no_space(error):
        return _explain_no_space(path)
    if "SQLITE_BUSY" in names:
        return f"{path} is locked by another program"
    if getattr(error, "errno", None) == errno.EROFS:
        return f"the volume of {path} is mounted read-only"
    cause = _look_at(path)
    failed = next((name for name in names if name.startswith("SQLITE_IOERR")), None)
    if cause is None and failed is not None:
        return f"the volume of {path} fails to read or write ({failed})"
    return cause or f"{path}: {error}"


def _explain_no_space(path: Path) -> str:
    try:
        if volume.free_bytes(path.parent) > volume.LITTLE_SPACE_BYTES:
            return f"{path} has reached its largest size, no space until old rows have gone"
    except OSError:
        pass
    return f"no space left on the volume of {path}"


def _look_at(path: Path) -> str | None:
    folder = path.parent
    try:
        if not folder.is_dir():
            return f"the folder {folder} does not exist and cannot be created"
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"the volume of {path} is mounted read-only"
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to a file that does not exist"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"no permission to write in {folder}"
        for file in (path, *(path.with_name(path.name + name) for name in COMPANIONS)):
            if file.exists() and not stat.S_ISREG(file.stat().st_mode):
                return f"{file} is not a file"
            if file.exists() and not os.access(file, os.R_OK | os.W_OK):
                return f"no permission to read and write {file}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None
