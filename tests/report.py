"""The report of the README, made anew from a real run: `make report`.

A real gunicorn is given what a gateway reported and a week of made-up calls, and samples the
machine it runs on for some seconds; a process that is started twice plays the gateway.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import sample, wait_until
from tests.support.command import command
from tests.support.gunicorn import PROJECT, Gunicorn

README = PROJECT / "README.md"
PATTERN = re.compile(
    r"(<!-- report: made by `make report` -->\n```\n).*?(```\n<!-- /report -->)", re.S
)
SAMPLES = 5


def run_gateway(server, pid_file):
    """A process to watch, for some samples."""
    before = server.health()["workers"]["sampler"]["last_ok_at"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        pid_file.write_text(str(process.pid))
        try:
            for _ in range(SAMPLES):
                wait_until(
                    lambda b=before: server.health()["workers"]["sampler"]["last_ok_at"] != b
                )
                before = server.health()["workers"]["sampler"]["last_ok_at"]
        finally:
            process.kill()


def rendered():
    folder = Path(tempfile.mkdtemp(prefix="openclaw-trace-"))
    try:
        environ = {
            "TRACE_METRICS_INTERVAL": "1s",
            "TRACE_WATCH_PROCESS": f"pid:{folder / 'gateway.pid'}",
            "TRACE_AGENT_ID": "my-agent",
        }
        with Gunicorn(folder, **environ) as server:
            until = int(time.time() * 1000)
            sample.fill(server, sample.recorded(), sample.generated(until))
            for _ in range(2):
                run_gateway(server, folder / "gateway.pid")
            ended = command(server.environ, "report")
        assert ended.code == 0, ended
        return ended.out.rstrip() + "\n"
    finally:
        shutil.rmtree(folder)


def main():
    os.environ["LANG"] = "C.UTF-8"
    text, count = PATTERN.subn(lambda m: m[1] + rendered() + m[2], README.read_text())
    assert count == 1
    README.write_text(text)


if __name__ == "__main__":
    main()
