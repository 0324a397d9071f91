import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.host import process, write
from tracer.collectors.gateway import COMMAND, Found, GatewayFinder
from tracer.collectors.process_table import parse_stat, read_table
from tracer.collectors.processes import Processes
from tracer.collectors.startup import Startup

ROOT = Path("/")
HZ = os.sysconf("SC_CLK_TCK")


def table(*stats):
    found = [parse_stat(text.encode()) for text in stats]
    return {each.pid: each for each in found}


def finder(root, watch="auto", uptime_s=1000.0, **options):
    return GatewayFinder(root, watch, own_pids=lambda: (1,), uptime_s=lambda: uptime_s, **options)


def commands(root, **by_pid):
    return write(
        root,
        {f"proc/{pid[1:]}/cmdline": text.replace(" ", "\0") + "\0" for pid, text in by_pid.items()},
    )


LOCKS = ["tmp/openclaw-1000", "data/tmp/openclaw-1000", "root/.openclaw/tmp/openclaw-0",
         "home/node/.openclaw/tmp/openclaw-1000"]  # fmt: skip


@pytest.mark.parametrize("folder", LOCKS)
def test_the_lock_file_names_the_gateway(tmp_path, folder):
    lock = json.dumps({"pid": 50, "port": 3000, "startTime": 777, "stateDir": "/data"})
    root = write(tmp_path, {f"{folder}/gateway.1a2b.lock": lock})
    processes = table(process(50, name="MainThread", start=777), process(51))
    found = finder(root).find(processes)
    assert found.process.pid == 50
    assert found.port == 3000
    assert found.lock == root / folder / "gateway.1a2b.lock"


def test_the_state_folder_of_the_agents_environment_is_looked_into(tmp_path):
    write(tmp_path, {"state/tmp/openclaw-5/gateway.x.lock": '{"pid":50,"startTime":777}'})
    watching = finder(tmp_path / "root", state_folder=tmp_path / "state")
    assert watching.find(table(process(50, start=777))).process.pid == 50


@pytest.mark.parametrize(
    "lock",
    [
        '{"pid":50,"startTime":778}',  # left behind, and the pid is another's
        '{"pid":51,"startTime":777}',
        '{"pid":50}',
        '{"pid":[50],"startTime":777}',
        '{"pid":1,"startTime":5}',  # ourselves
        '{"startTime":777}',
        "[]",
        "",
        "{",
    ],
)
def test_a_lock_that_was_left_behind_or_is_none_names_nobody(tmp_path, lock):
    root = write(tmp_path, {"tmp/openclaw-0/gateway.x.lock": lock})
    assert finder(root).find(table(process(50, start=777), process(1, start=5))) is None


def test_a_pipe_or_an_endless_file_in_the_place_of_a_lock_holds_nothing_up(tmp_path):
    """Anybody may write to /tmp."""
    folder = tmp_path / "tmp/openclaw-0"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "gateway.a.lock")
    (folder / "gateway.b.lock").symlink_to("/dev/zero")
    (folder / "gateway.c.lock").mkdir()
    assert finder(tmp_path).find(table(process(50))) is None


def test_the_newest_of_two_locks_wins_and_takes_over_from_one_that_drains(tmp_path):
    root = write(tmp_path, {"tmp/openclaw-0/gateway.a.lock": '{"pid":50,"startTime":100}'})
    watching = finder(root)
    processes = table(process(50, start=100), process(60, start=900))
    assert watching.find(processes).process.pid == 50
    write(root, {"tmp/openclaw-0/gateway.b.lock": '{"pid":60,"startTime":900}'})
    assert watching.find(processes).process.pid == 60


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        ("openclaw-gateway", True),
        ("node dist/index.js gateway --allow-unconfigured --port 3000 --bind lan", True),
        ("node /usr/lib/node_modules/openclaw/openclaw.mjs gateway run", True),
        ("openclaw gateway", True),
        ("node dist/index.js gateway status", False),
        ("openclaw gateway call sessions.usage", False),
        ("openclaw gateway usage-cost --days 7", False),
        ("gunicorn: openclaw-trace", False),
        ("/app/.venv/bin/gunicorn -c openclaw-trace/gunicorn.conf.py", False),
        ("node dist/process/spawn-broker/worker.js", False),
        ("openclaw", False),
        ("tail -f /data/logs/openclaw-gateway.log", False),
        ("/usr/local/bin/openclaw-gateway", True),
    ],
)
def test_command_lines(tmp_path, command, is_one):
    root = commands(tmp_path, p50=command)
    found = finder(root).find(table(process(50)))
    assert (found is not None) is is_one
    assert (COMMAND.search(command) is not None) is is_one


def test_a_launcher_that_repeats_the_command_is_not_the_gateway(tmp_path):
    command = "node dist/index.js gateway --port 3000"
    root = commands(tmp_path, p10=f"tini -- {command}", p11=command, p12="openclaw-gateway")
    processes = table(
        process(10, ppid=1, start=1), process(11, ppid=10, start=2), process(12, start=500)
    )
    assert finder(root).find(processes).process.pid == 11


def test_a_command_that_only_asks_is_gone_before_it_is_believed(tmp_path):
    root = commands(tmp_path, p50="openclaw gateway")
    young = table(process(50, start=int(995 * HZ)))
    assert finder(root, uptime_s=1000).find(young) is None
    assert finder(root, uptime_s=1006).find(young).process.pid == 50
    assert finder(root, "openclaw gateway", uptime_s=1000).find(young).process.pid == 50


def test_a_gateway_that_takes_its_title_late_is_still_found(tmp_path):
    root = commands(tmp_path, p50="node x.js")
    watching, now = finder(root), [20.0]
    watching._uptime_s = lambda: now[0]
    processes = table(process(50, start=0))
    assert watching.find(processes) is None
    commands(root, p50="openclaw-gateway")
    now[0] = 35.0
    assert watching.find(processes).process.pid == 50


def test_ourselves_and_zombies_are_never_the_gateway(tmp_path):
    root = commands(tmp_path, p1="openclaw-gateway", p50="openclaw-gateway")
    assert finder(root).find(table(process(1), process(50, state="Z"))) is None


def test_one_that_was_found_is_kept_while_it_runs(tmp_path):
    root = commands(tmp_path, p50="openclaw-gateway", p60="openclaw-gateway")
    watching = finder(root)
    both = table(process(50, start=100), process(60, start=50))
    assert watching.find(table(process(50, start=100))).process.pid == 50
    assert watching.find(both).process.pid == 50
    assert watching.find(table(process(50, start=999), process(60, start=50))).process.pid == 60


def test_a_pid_file(tmp_path):
    file = tmp_path / "agent.pid"
    watching = finder(tmp_path, f"pid:{file}")
    assert watching.find(table(process(50))) is None
    for text, expected in (("50\n", 50), ("60", 60), ("", 60), ("x", 60), ("9" * 5000, 60)):
        file.write_text(text)
        assert watching.find(table(process(50), process(60))).process.pid == expected


def test_the_listener_of_a_port_is_found_by_its_socket():
    code = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            port = int(child.stdout.readline())
            watching = GatewayFinder(ROOT, f"port:{port}")
            processes = read_table(ROOT).processes
            assert watching.find(processes).process.pid == child.pid
            assert GatewayFinder(ROOT, "port:1").find(processes) is None
        finally:
            child.kill()


def test_a_listener_we_may_not_see_is_looked_for_once(tmp_path):
    head = "sl\n"
    line = f"   0: 0100007F:{18789:04X} 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n"
    root = write(tmp_path, {"proc/net/tcp": head + line})
    watching = finder(root)
    looked = []
    watching._open_files = lambda pid: looked.append(pid) or set()
    for _ in range(3):
        assert watching.find(table(process(50))) is None
    assert looked == [50]
    assert watching.has_hidden_listener
    hidden = Processes(write(root, {"proc/50/stat": process(50)}), watching).collect().values
    assert hidden["gateway_up"] is None
    (root / "proc/50/fd").mkdir(parents=True)
    (root / "proc/50/fd/3").symlink_to("socket:[78]")
    write(root, {"proc/net/tcp": head + line.replace(" 77 ", " 78 ")})
    del watching._open_files
    assert watching.find(table(process(50))) == Found(table(process(50))[50], port=18789)
    assert not watching.has_hidden_listener
    assert Processes(root, watching).collect().values["gateway_up"] == 1


class Answer(BaseHTTPRequestHandler):
    body = b""
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("body", "facts", "asked"),
    [
        (b'{"ok":true,"status":"started","version":"2026.9.6","uptimeMs":38128}', {"gateway_uptime_ms": 38128}, 2),
        (b"<!doctype html>", {}, 1),  # 2.12 serves its page at every path
        (b'{"ok":true}', {}, 1),
        (b"[1]", {}, 1),
        (b'{"uptimeMs":"\xff"}', {}, 1),
    ],
)  # fmt: skip
def test_the_gateways_own_uptime(body, facts, asked):
    handler = type("Handler", (Answer,), {"body": body})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            running = Found(table(process(50))[50], port=server.server_address[1])
            startup = Startup(lambda: running)
            assert startup.collect().facts == facts
            assert startup.collect().facts == facts
        finally:
            server.shutdown()
            thread.join()
    assert handler.asked == asked


def test_a_gateway_that_does_not_answer_yet_is_asked_again():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = Found(table(process(50))[50], port=silent.getsockname()[1])
        startup = Startup(lambda: running)
        assert startup.collect().facts == {}
        assert startup._mute is None
    assert startup.collect().facts == {}
    assert Startup(lambda: None).collect().facts == {}
