"""The threads of this process: what they do at this moment, and the CPU each has used. Linux."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator


def native_id(thread: threading.Thread) -> int:
    """The kernel's number of a thread that was started. Python keeps the parent's after a fork."""
    return os.getpid() if thread is threading.main_thread() else thread.native_id or 0


def cpu_ns(native: int) -> int | None:
    """CPU time of one thread of this process; None when it has ended.

    The clock's number is made as the kernel does (posix-timers.h: the thread's complement, shifted,
    per thread, by the scheduler): `pthread_getcpuclockid` crashes on a thread that has ended.
    """
    try:
        return time.clock_gettime_ns((~native << 3) | 0b110)
    except OSError:
        return None


def stacks() -> Iterator[str]:
    """A paragraph for each thread: name, CPU time, stack with the innermost call last. No values
    of variables.
    """
    known = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        thread = known.get(ident)
        used_ns = None if thread is None else cpu_ns(native_id(thread))
        used = "" if used_ns is None else f", {used_ns / 1e9:.3f} s of CPU"
        name = thread.name if thread else "not started by Python"
        yield f"{name}{used}\n" + "".join(traceback.format_stack(frame))
