"""The running sidecar, from outside: its `/health`, and the process that holds the database."""

import http.client
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from config.readers import Address
from tracer import store_file
from tracer.cli.exits import NothingThereError
from tracer.errors import StoreLocked

TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 1024**2
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Who listens everywhere is trusted on loopback."""

_OF_STRANGERS: Final = {"status", "uptime_seconds"}
_OURS: Final = _OF_STRANGERS | {"version", "db_status", "events", "workers", "warnings"}
"""Other programs have a `/health` as well."""


def health(addresses: Iterable[Address], api_key: str) -> dict[str, Any]:
    """What the first address that answers says of itself; blocks for some seconds.

    Raises NothingThereError when there is none, or it is another program.
    """
    tried = []
    for address in addresses:
        host = _ANY.get(address.host, address.host)
        connection = http.client.HTTPConnection(host, address.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            connection.request("GET", "/health", headers=headers)
            answer = msgspec.json.decode(connection.getresponse().read(MAX_ANSWER_BYTES))
            if isinstance(answer, dict) and (
                answer.keys() == _OF_STRANGERS or answer.keys() >= _OURS
            ):
                return answer
            tried.append(f"{address} is another program")
        except (OSError, http.client.HTTPException) as error:
            tried.append(f"{address}: {getattr(error, 'strerror', None) or error}")
        except msgspec.DecodeError:
            tried.append(f"{address} is another program")
        finally:
            connection.close()
    raise NothingThereError(f"no sidecar answers ({'; '.join(tried)})")


def is_running(database: Path) -> bool:
    """Whether some instance holds the lock of the database."""
    lock = store_file.InstanceLock(database)
    if not _lock_path(database).exists():
        return False
    try:
        lock.acquire()
    except StoreLocked:
        return True
    finally:
        lock.close()
    return False


def lock_holder(database: Path) -> int | None:
    """The process that holds the lock of the database (proc(5), `/proc/locks`).

    None where the kernel does not tell: no `/proc`, or another container or user.
    """
    try:
        lock = _lock_path(database).stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for fields in map(str.split, lines):
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{lock.st_ino}"):
            pid = int(fields[4])
            if pid > 0 and _has_open(pid, lock):
                return pid
    return None


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Inodes repeat among devices, and process ids among containers: look at the files it has."""
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino):
                return True
    except OSError:
        return False
    return False


def _lock_path(database: Path) -> Path:
    return database.with_name(database.name + ".lock")
