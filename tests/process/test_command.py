"""The real command beside a real gunicorn, and without one."""

import contextlib
import http.server
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tests.support import sample, wait_until
from tests.support.command import command, on_terminal
from tests.support.gunicorn import PROJECT, Gunicorn, assert_balanced, free_port

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38|4[0-7]|48|9[0-7])(?:;\d+)*m")
SECRET = "Zq8vT1xXyLw0aB4cD6eF8g"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A running sidecar with what a gateway reported and a week of made-up calls."""
    folder = tmp_path_factory.mktemp("filled")
    with Gunicorn(folder, TRACE_METRICS_INTERVAL="200ms") as server:
        now = int(time.time() * 1000)
        sample.fill(server, sample.recorded(), sample.generated(now, per_day=30))
        wait_until(lambda: server.rows("SELECT 1 FROM system_metrics LIMIT 1"))
        yield server


@pytest.fixture
def unpriced(tmp_path):
    """A running sidecar with four calls: two have no price, one has the agent's."""
    with Gunicorn(tmp_path) as server:
        call = {"provider": "homegrown", "model": "m1", "prompt_tokens": 1000}
        calls = [call, call, call | {"cost_usd": 7.5}, {"provider": "homegrown", "model": "m1"}]
        assert server.post("/v1/traces", calls, Prefer="wait")[0] == 200
        yield server


def price_table(folder, rate, version="mine"):
    path = folder / "prices.json"
    models = {"m1": {"prices": {"input": rate, "output": 1}}}
    path.write_text(
        json.dumps({"version": version, "providers": {"homegrown": {"models": models}}})
    )
    return {"TRACE_PRICES_PATH": str(path)}


def costs(server):
    return [
        tuple(row.values())
        for row in server.rows(
            "SELECT cost_usd, cost_source, price_version FROM llm_traces ORDER BY id"
        )
    ]


def add(server, count):
    events = [{"name": f"event {n}"} for n in range(count)]
    assert server.post("/v1/events", events, Prefer="wait")[0] == 200


# status


def test_status_shows_health_and_ledger(filled):
    ended = command(filled.environ, "status")
    assert ended.code == 0, ended
    rows = filled.health()["events"]["rows"]
    assert re.search(r"^ +status +ok$", ended.out, re.M)
    assert re.search(r"received +\d+ +stored +\d+", ended.out)
    assert "writer" in ended.out
    shown = json.loads(command(filled.environ, "status", "--json").out)
    assert shown["events"]["rows"]["stored"] >= rows["stored"]
    assert_balanced(shown["events"])


def test_status_of_a_degraded_sidecar_is_1_and_of_none_is_3(tmp_path):
    (tmp_path / "trace.db").mkdir()
    server = Gunicorn(tmp_path).start()
    try:
        wait_until(lambda: command(server.environ, "status").code == 1, 20)
    finally:
        server.__exit__()
    ended = command(server.environ, "status", "--json")
    assert ended.code == 3
    assert "Connection refused" in json.loads(ended.out)["error"]


@pytest.mark.parametrize(
    "answer",
    [{"uptime_seconds": 1}, {"status": "ok", "uptime_seconds": "1h", "version": "2"}, ["status"]],
)
def test_another_health_is_not_ours(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ended = command({"TRACE_BIND": f"127.0.0.1:{server.server_port}"}, "status")
        server.shutdown()
    assert ended.code == 3, ended
    assert "another program" in ended.err


def test_another_program_on_the_address_is_no_sidecar(remote, tmp_path):
    port = remote.server.server_address[1]
    ended = command({"TRACE_BIND": f"127.0.0.1:{port}"}, "status")
    assert ended.code == 3
    assert "another program" in ended.err


# report


def test_the_report_says_what_the_database_says(filled):
    ended = command(filled.environ, "report", "--json")
    assert ended.code == 0, ended
    report = json.loads(ended.out)
    since, until = report["since"], report["until"]
    window = f"created_at >= {since} AND created_at < {until}"
    [expected] = filled.rows(
        "SELECT count(*) AS calls, sum(prompt_tokens) AS prompt_tokens, sum(cost_usd) AS cost, "
        f"sum(cost_usd IS NULL) AS without FROM llm_traces WHERE {window}"
    )
    for by in ("model", "day", "session"):
        total = report["cost"][by]["total"]
        assert total["calls"] == expected["calls"] > 200
        assert total["prompt_tokens"] == expected["prompt_tokens"]
        assert total["cost_usd"] == pytest.approx(expected["cost"])
        assert total["calls_without_cost"] == expected["without"] > 0
    [failed] = filled.rows(
        f"SELECT (SELECT count(*) FROM llm_traces WHERE status <> 'success' AND {window})"
        f" + (SELECT count(*) FROM error_events WHERE {window}) AS count"
    )
    assert report["errors"]["category"]["total"]["count"] == failed["count"] > 0
    latencies = sorted(
        row["latency_ms"]
        for row in filled.rows(
            f"SELECT latency_ms FROM llm_traces WHERE model = 'gpt-5-mini' AND {window}"
        )
    )
    [item] = [i for i in report["latency"]["model"]["items"] if i["model"] == "gpt-5-mini"]
    assert item["latency_ms"]["p50"] == latencies[-(-len(latencies) // 2) - 1]
    assert item["latency_ms"]["max"] == latencies[-1]
    [peak] = filled.rows(f"SELECT max(mem_percent) AS mem FROM system_metrics WHERE {window}")
    assert report["host"]["peaks"]["mem_percent"]["peak"] == peak["mem"] > 0


def test_the_report_is_one_screen_of_plain_text_in_a_pipe(filled):
    ended = command(filled.environ, "report")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100
    assert ESCAPE not in ended.out
    for title in ("Models", "Days", "Dearest sessions", "Errors", "Host and gateway"):
        assert title in ended.out
    assert "█" in ended.out
    assert "calls have no price" in ended.out


def test_the_window_of_a_report(filled):
    def calls(*args):
        ended = command(filled.environ, "report", "--json", *args)
        return json.loads(ended.out)["cost"]["model"]["total"]["calls"]

    assert 0 < calls("--since", "2d") < calls("--since", "7d")
    assert calls("--since", "2000-01-01", "--until", "2001-01-01T00:00:00Z") == 0
    assert command(filled.environ, "report", "--since", "soon").code == 2
    assert command(filled.environ, "report", "--since", "1h", "--until", "2h").code == 2


@pytest.mark.parametrize("has_rich", [True, False])
def test_on_a_narrow_terminal_no_number_is_cut(filled, has_rich):
    environ = filled.environ | {"NO_COLOR": "1"}
    ended = on_terminal(environ, "report", columns=80, has_rich=has_rich)
    assert ended.code == 0
    assert (ESCAPE in ended.out) == has_rich
    assert not COLOUR.search(ended.out)
    shown = re.sub(r"\x1b\[[\d;]*m", "", ended.out)
    assert max(map(len, shown.splitlines())) <= 80
    report = shown[shown.index("Models") : shown.index("Days")]
    for row in report.splitlines()[2:]:
        assert "…" not in " ".join(row.split()[1:]), row


def test_colours_are_for_terminals_that_want_them(filled):
    assert COLOUR.search(on_terminal(filled.environ, "report").out)
    assert not COLOUR.search(on_terminal(filled.environ | {"TERM": "dumb"}, "report").out)
    ascii_only = command(filled.environ | {"PYTHONIOENCODING": "ascii"}, "report")
    assert ascii_only.code == 0
    assert ascii_only.out.isascii()
    assert "##" in ascii_only.out


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_that_lacks_characters_gets_others(filled, has_rich):
    environ = filled.environ | {"PYTHONIOENCODING": "ascii"}
    ended = on_terminal(environ, "report", columns=60, has_rich=has_rich)
    assert ended.code == 0, ended
    assert ended.out.isascii()
    assert "Host and gateway" in ended.out


@pytest.mark.parametrize("closed", ["1", "2", "12"])
def test_who_wants_the_exit_code_only_may_close_the_rest(filled, closed):
    shut = " ".join(f"{number}>&-" for number in closed)
    line = ["sh", "-c", f"exec {sys.executable} -m tracer status {shut}"]
    done = subprocess.run(
        line, cwd=PROJECT, env=filled.environ, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_reports_need_a_database(tmp_path):
    for name in ("report", "tail", "reprice"):
        ended = command({"TRACE_DB_PATH": str(tmp_path / "none.db")}, name)
        assert ended.code == 3
        assert "there is no database" in ended.err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "none.db").write_bytes(b"no database at all" * 100)
    ended = command({"TRACE_DB_PATH": str(tmp_path / "none.db")}, "report")
    assert ended.code == 1
    assert "damaged" in ended.err


# check


def test_check_of_a_good_configuration(tmp_path, remote):
    environ = {
        "TRACE_BIND": f"127.0.0.1:{free_port()}",
        "TRACE_DB_PATH": str(tmp_path / "deep" / "trace.db"),
        "TRACE_PUSH_ENDPOINT": f"{remote.url}?token={SECRET}",
        "TRACE_PUSH_API_KEY": SECRET,
    }
    ended = command(environ, "check")
    assert ended.code == 0, ended
    assert "would be created" in ended.out
    assert "took an empty batch (200)" in ended.out
    assert SECRET not in ended.out + ended.err
    assert remote.batches[0]["events"] == []
    assert remote.batches[0]["schema_version"] == 1
    assert list(tmp_path.iterdir()) == []


def test_check_beside_the_service(filled):
    answer = json.loads(command(filled.environ, "check", "--json").out)
    assert answer["ok"] is True
    found = {finding["check"]: finding for finding in answer["checks"]}
    assert f"process {filled.worker_pids[0]}" in found["instance"]["text"]
    assert "rows" in found["database"]["text"]


def test_what_check_finds_wrong(tmp_path, remote):
    remote.answer = 401
    environ = {"TRACE_DB_PATH": str(tmp_path / "trace.db"), "TRACE_PUSH_ENDPOINT": remote.url}
    environ["TRACE_BIND"] = f"127.0.0.1:{remote.server.server_address[1]}"
    environ["TRACE_PORTT"] = "1"
    ended = command(environ, "check")
    assert ended.code == 1
    failed = [line.split()[1] for line in ended.out.splitlines() if line.startswith("failed")]
    assert failed == ["address", "endpoint"]
    assert "unknown setting TRACE_PORTT" in ended.out
    ended = command(environ | {"TRACE_PORT": "many"}, "check")
    assert ended.code == 2
    assert "TRACE_PORT='many'" in ended.err


# push


def test_push_has_the_running_service_push_now(tmp_path, remote):
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url, TRACE_PUSH_INTERVAL="1h") as server:
        add(server, 300)
        ended = command(server.environ, "push", "--json")
        assert ended.code == 0, ended
        assert json.loads(ended.out) == {"pushed": 300, "unpushed": 0}
        assert len(remote.events) == 300
        assert_balanced(server.health()["events"])
        remote.answer = 503
        add(server, 2)
        ended = command(server.environ, "push")
        assert ended.code == 1
        assert "2 are left" in ended.out
        assert "503" in ended.err
        failed = json.loads(command(server.environ, "push", "--json").out)
        assert (failed["unpushed"], "503" in failed["error"]) == (2, True)
        assert command(server.environ, "push", "--timeout", "nan").code == 2
        assert server.health()["events"]["rows"]["unpushed"] == 2
        remote.answer = 200
        server.process.send_signal(signal.SIGUSR1)  # what the README offers instead
        wait_until(lambda: len(remote.events) == 302)
        assert len(server.worker_pids) == 1


def test_push_without_a_service_takes_its_place(tmp_path, remote):
    with Gunicorn(tmp_path) as server:
        add(server, 300)
    environ = server.environ | {"TRACE_PUSH_ENDPOINT": remote.url}
    remote.answer = 500
    ended = command(environ, "push")
    assert ended.code == 1
    assert "pushed 0 rows, 300 are left" in ended.out
    assert "500" in ended.err
    remote.answer = 200
    ended = command(environ, "push")
    assert ended.code == 0, ended
    assert len(remote.events) == 300
    with server:
        rows = server.health()["events"]["rows"]
        assert (rows["stored"], rows["pushed"], rows["unpushed"]) == (300, 300, 0)
    assert command(server.environ, "push").code == 1  # nowhere to push to


# reprice


def test_reprice_beside_the_running_service(unpriced, tmp_path):
    assert [source for _, source, _ in costs(unpriced)] == [None, None, "agent", None]
    ended = command(unpriced.environ, "reprice", "--json")
    assert ended.code == 0, ended
    assert json.loads(ended.out)["without_price"] == {"homegrown/m1": 2}
    before = unpriced.health()["events"]["rows"]

    environ = unpriced.environ | price_table(tmp_path, 3)
    assert json.loads(command(environ, "reprice", "--dry-run", "--json").out)["changed"] == 2
    assert costs(unpriced)[0] == (None, None, None)
    assert "2 calls got a new cost, +$0.0060" in command(environ, "reprice").out
    priced = (pytest.approx(0.003), "computed", "mine")
    others = [(7.5, "agent", None), (None, None, None)]
    assert costs(unpriced) == [priced, priced, *others]

    environ = unpriced.environ | price_table(tmp_path, 5, "newer")
    assert json.loads(command(environ, "reprice", "--json").out)["changed"] == 0
    assert json.loads(command(environ, "reprice", "--all", "--json").out)["changed"] == 2
    assert json.loads(command(environ, "reprice", "--all", "--json").out)["changed"] == 0
    priced = (pytest.approx(0.005), "computed", "newer")
    assert costs(unpriced) == [priced, priced, *others]
    add(unpriced, 1)  # the service goes on
    rows = unpriced.health()["events"]["rows"]
    assert rows["stored"] == before["stored"] + 1
    assert_balanced(unpriced.health()["events"])


def test_rows_that_were_pushed_stay_pushed(tmp_path, remote):
    with Gunicorn(tmp_path, TRACE_PUSH_ENDPOINT=remote.url, TRACE_PUSH_INTERVAL="1h") as server:
        call = {"provider": "homegrown", "model": "m1", "prompt_tokens": 1000}
        server.post("/v1/traces", call, Prefer="wait")
        assert command(server.environ, "push").code == 0
        ended = command(server.environ | price_table(tmp_path, 3), "reprice")
        assert "1 of them were pushed before" in ended.out
        [row] = server.rows("SELECT pushed_at, cost_usd FROM llm_traces")
        assert row["pushed_at"] is not None
        assert row["cost_usd"] == pytest.approx(0.003)
        assert server.health()["unpushed"] == 0


# tail


class Tail:
    """`tail` in a pipe, with what it has written so far."""

    def __init__(self, server, folder, *args):
        self.path = folder / "tail.txt"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tracer", "tail", *args],
                cwd=PROJECT,
                env=server.environ,
                stdout=out,
            )

    def lines(self):
        return self.path.read_text().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def test_tail_shows_events_as_they_arrive_until_ctrl_c(tmp_path):
    with Gunicorn(tmp_path) as server:
        add(server, 5)
        with Tail(server, tmp_path, "--lines", "2") as tail:
            wait_until(lambda: len(tail.lines()) == 2)
            assert [line.split()[-1] for line in tail.lines()] == ["3", "4"]
            server.post("/v1/traces", {"provider": "p", "model": "m", "latency_ms": 1500})
            server.post("/v1/errors", {"error_type": "crash", "message": "a\x1b[2Jb\nc"})
            wait_until(lambda: len(tail.lines()) == 4)
            assert "p/m success" in tail.lines()[2]
            assert "1.5 s" in tail.lines()[2]
            assert tail.lines()[3].endswith("a [2Jb c")
            tail.process.send_signal(signal.SIGINT)
            assert tail.process.wait(10) == 130


def test_tail_in_json_has_every_column(tmp_path):
    with Gunicorn(tmp_path) as server, Tail(server, tmp_path, "--json", "-n", "0") as tail:
        wait_until(lambda: tail.path.exists())
        body = {"provider": "p", "model": "m", "metadata": {"a": [1]}, "session_id": "s"}
        wait_until(lambda: server.post("/v1/traces", body)[0] == 202 and tail.lines(), 20)
        event = json.loads(tail.lines()[0])
        assert event["type"] == "llm_trace"
        assert event["data"]["metadata"] == {"a": [1]}
        assert event["data"]["session_id"] == "s"
        with contextlib.closing(sqlite3.connect(server.database)) as other:  # another program
            other.execute(
                "INSERT INTO custom_events (trace_id, created_at, received_at, name, metadata) "
                "VALUES ('x', 1, 1, 'n', '{broken')"
            )
            other.commit()
        wait_until(lambda: any("{broken" in line for line in tail.lines()))
        [broken] = [line for line in tail.lines() if "{broken" in line]
        assert json.loads(broken)["data"]["metadata"] == "{broken"


def test_tail_knows_every_kind(filled, tmp_path):
    kinds = ("llm_trace", "error_event", "custom_event", "system_metric", "process_metric")
    for kind in kinds:
        with Tail(filled, tmp_path, "--kind", kind, "--lines", "3") as tail:
            wait_until(lambda tail=tail: len(tail.lines()) >= 3)
            assert {line.split()[2] for line in tail.lines()} == {kind}
            assert min(len(line.split()) for line in tail.lines()) >= 4
    assert command(filled.environ, "tail", "--kind", "nothing").code == 2


# run


def test_run_is_gunicorn_with_our_configuration(tmp_path):
    server = Gunicorn(tmp_path)
    environ = server.environ | {"PYTHONPATH": str(PROJECT), "TRACE_DB_PATH": "trace.db"}
    with subprocess.Popen(
        [sys.executable, "-m", "tracer", "run"],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.DEVNULL,
    ) as process:
        server.process = process
        try:
            wait_until(server.answers, 20)
            assert server.database.exists()  # relative to where it was started
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert command({"TRACE_PORT": "many"}, "run").code == 2


def test_every_command_has_help_and_the_exit_codes_are_in_it():
    ended = command({}, "--help")
    assert ended.code == 0
    assert "130" in ended.out
    for name in ("run", "check", "status", "report", "push", "reprice", "tail"):
        assert re.search(rf"^ +{name} ", ended.out, re.M)
        assert "--json" in command({}, name, "--help").out
    assert command({}, "fly").code == 2
