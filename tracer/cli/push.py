"""pushes now what is not pushed yet

Beside a running service it asks that to begin a pass (SIGUSR1) and shows how far it gets: one
process alone pushes, or batches would go twice. Without one it takes the service's place for the
time of a pass. Exit code 0 when the pass succeeded.
"""

import argparse
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from config.settings import Settings
from tracer.cli import database, sidecar
from tracer.cli.exits import Exit
from tracer.cli.screen import Progress, Screen
from tracer.cli.units import count
from tracer.errors import StoreError
from tracer.worker import Worker, WorkerState

POLL_S: Final = 0.2
GRACE_S: Final = 15.0
"""For the last write of a pass, and for one that had begun before."""

STOP_S: Final = 5.0
ONCE_S: Final = 7 * 86400.0
"""Until the next pass of a process that has ended by then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long to watch."""
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="how many seconds a pass may take (default: 600)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)  # a ValueError is told by argparse
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("a number of seconds above 0")
    return seconds


def run(args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """Blocks for as long as the pass takes."""
    if not settings.push_endpoint:
        screen.fail("TRACE_PUSH_ENDPOINT is empty: there is nowhere to push to")
        return Exit.FAILED
    database.check(settings.db_path)
    before = database.row_counts(settings.db_path)
    by = time.monotonic() + args.timeout
    with screen.progress("pushing") as progress:

        def watch() -> None:
            _show(settings.db_path, before, progress)

        if sidecar.is_running(settings.db_path):
            problem = _ask(settings, watch, by)
        else:
            problem = _push(settings, watch, by)
    after = database.row_counts(settings.db_path)
    pushed = after.get("pushed", 0) - before.get("pushed", 0)
    left = after.get("unpushed", 0)
    if screen.is_json:
        failure = {"error": problem} if problem else {}
        screen.data({"pushed": pushed, "unpushed": left, **failure})
    else:
        screen.say(f"pushed {count(pushed)} rows, {count(left)} are left")
        if problem:
            screen.fail(problem)
    return Exit.FAILED if problem else Exit.OK


def _ask(settings: Settings, watch: Callable[[], None], by: float) -> str | None:
    """Has the running service begin a pass and waits for its end; what went wrong, if anything."""
    pid = sidecar.lock_holder(settings.db_path)
    if pid is None:
        return (
            "the service runs, and /proc does not tell which process it is: it pushes by itself "
            f"every {settings.push_interval:g} s"
        )
    began = _worker_of_service(settings)
    try:
        os.kill(pid, signal.SIGUSR1)
    except PermissionError:
        return f"the service (process {pid}) is another user's: run this as that user"
    ended = _wait(lambda: _worker_of_service(settings), began, watch, by)
    if ended is None:
        return "the pass of the service has not ended in time; it goes on"
    if ended["failures"] == began["failures"]:
        return None
    health = sidecar.health(settings.bind, settings.api_key)
    return f"push {health['last_push_status'] or 'failed'}"


def _worker_of_service(settings: Settings) -> WorkerState:
    health = sidecar.health(settings.bind, settings.api_key)
    worker = health.get("workers", {}).get("push")
    if worker is None:
        raise StoreError("the running service does not push: it was started with other settings")
    return cast("WorkerState", worker)


def _push(settings: Settings, watch: Callable[[], None], by: float) -> str | None:
    """One pass in this process, which holds the lock of the database meanwhile."""
    from tracer.service import Service  # imports much that no other command needs

    _make_lock(settings.db_path)
    service = Service(settings)
    push = service.push
    if push is None:
        return f"TRACE_PUSH_FORMAT={settings.push_format} cannot be pushed"
    writer = Worker("writer", at_stop=service.writer.finish, wake=service.intake.wake)
    writer.every(0, service.writer.run_once)
    pusher = Worker("push")
    pusher.every(ONCE_S, push.run_once)
    push.end_by(by)
    writer.start()
    try:
        while service.writer.database_status == "opening":
            time.sleep(0.01)
        if service.writer.database_status != "ok":
            return service.writer.database_status
        began = pusher.state()
        pusher.start()
        ended = _wait(pusher.state, began, watch, by + GRACE_S)
        if ended is None or time.monotonic() >= by:
            return "the pass was cut short"
        return f"push {push.last_status or 'failed'}" if ended["failures"] else None
    finally:
        push.end_by(0.0)
        pusher.stop(time.monotonic() + STOP_S)
        writer.stop(time.monotonic() + STOP_S)


def _wait(
    state: Callable[[], WorkerState], began: WorkerState, watch: Callable[[], None], by: float
) -> WorkerState | None:
    """The state of a worker once it has ended a pass, None when it has not by then."""
    outcome = ("failures", "last_ok_at")
    while time.monotonic() < by:
        time.sleep(POLL_S)
        watch()
        now = state()
        if [now[name] for name in outcome] != [began[name] for name in outcome]:  # type: ignore[literal-required]
            return now
    return None


def _show(path: Path, before: Mapping[str, int], progress: Progress) -> None:
    now = database.row_counts(path)
    done = now.get("pushed", 0) - before.get("pushed", 0)
    progress(done, done + now.get("unpushed", 0))


def _make_lock(path: Path) -> None:
    """Root, by hand, must not leave a lock that the service's user cannot open."""
    lock = path.with_name(path.name + ".lock")
    if os.geteuid() == 0 and not lock.exists():
        owner = path.stat()
        os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.chown(lock, owner.st_uid, owner.st_gid)
