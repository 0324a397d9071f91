"""The real command as a child process, in a pipe or on a terminal."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import NamedTuple

from tests.support.gunicorn import PROJECT

WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None; from tracer.cli import main; sys.exit(main())"
)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def command(environ, *args):
    """Runs it to its end in a pipe."""
    line = [sys.executable, "-m", "tracer", *args]
    done = subprocess.run(
        line, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def on_terminal(environ, *args, columns=100, has_rich=True):
    """Runs it to its end on a terminal of its own; all that the terminal was sent is in `out`."""
    how = ["-m", "tracer"] if has_rich else ["-c", WITHOUT_RICH]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environ = {"TERM": "xterm-256color", "LANG": "C.UTF-8", **environ}
    with subprocess.Popen(
        [sys.executable, *how, *args],
        cwd=PROJECT,
        env=environ,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        sent = b""
        with contextlib.suppress(OSError):  # EIO: the terminal has nobody left
            while part := os.read(master, 65536):
                sent += part
    os.close(master)
    return Ended(process.returncode, sent.decode(), "")
