"""The forwarder plugin, run by node against a real sidecar with recorded events of a gateway."""

import json
import shutil
import subprocess

import pytest

from tests.support import wait_until
from tests.support.forwarder import call_of
from tests.support.gunicorn import PROJECT, Gunicorn, free_port

PLUGIN = PROJECT / "config/openclaw-plugin/index.js"
CAPTURE = PROJECT / "tests/captures/openclaw-2026.9.6-events.jsonl"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def node(script, *arguments):
    source = f"import plugin, {{ forwarder, callOf }} from {json.dumps(str(PLUGIN))};\n{script}"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", source, *map(str, arguments)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def captured():
    lines = [json.loads(line) for line in CAPTURE.read_text().splitlines()]
    events = [line.get("internal") and line["evt"] for line in lines]
    return list({event["seq"]: event for event in events if event}.values())


FORWARD = """
const out = forwarder(process.argv[1]);
for (const event of JSON.parse(process.argv[2])) out.onEvent(event);
await out.flush();
console.log("{}");
"""


def test_recorded_calls_arrive_once_with_every_field(tmp_path):
    events = [e for e in captured() if e["type"].startswith(("model.call", "tool.", "run."))]
    calls = [e for e in events if e["type"] in ("model.call.completed", "model.call.error")]
    with Gunicorn(tmp_path) as server:
        for _ in range(2):
            node(FORWARD, f"http://127.0.0.1:{server.port}", json.dumps(events))
        wait_until(lambda: server.health()["events"]["queued"] == 0)
        rows = {row["span_id"]: row for row in server.rows("SELECT * FROM llm_traces")}
        assert len(rows) == len(calls) >= 2
        for event in calls:
            row, wanted = rows[event["trace"]["spanId"]], call_of(event)
            if event["type"] == "model.call.completed":
                for name in ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cost_usd"):
                    assert row[name] == wanted[name], name
            for name in (
                "provider",
                "model",
                "latency_ms",
                "ttft_ms",
                "session_id",
                "run_id",
                "status",
            ):
                assert row[name] == wanted.get(name), name
        failed = [e for e in calls if e["type"] == "model.call.error"]
        assert len(server.rows("SELECT * FROM error_events")) == len(failed) >= 1
        names = {row["name"] for row in server.rows("SELECT name FROM custom_events")}
        assert names == {"tool.execution.completed", "run.completed"}
        assert server.health()["events"]["rejected"] == {}


AWAY = """
let calls = 0, status = 0;
const bodies = [];
const send = async (url, { body }) => {
  calls += 1;
  if (status === 0) throw new Error("refused");
  bodies.push(body);
  return { status };
};
const out = forwarder("http://x", "", send);
const event = (n) => ({ type: "run.completed", runId: String(n), ts: 1 });
for (let n = 0; n < 2500; n += 1) out.onEvent(event(n));
out.onEvent(null); // whatever comes must not throw into the gateway
out.onEvent({ type: "model.call.completed", get usage() { throw new Error("x"); } });
for (let n = 0; n < 5; n += 1) await out.flush();
status = 202;
for (let n = 0; n < 30; n += 1) await out.flush();
const lines = bodies.join("\\n").split("\\n").map((line) => JSON.parse(line));
console.log(JSON.stringify({ calls, lines }));
"""


def test_while_the_sidecar_is_away_it_drops_the_oldest_and_says_how_many():
    said = node(AWAY)
    runs = [int(line["run_id"]) for line in said["lines"] if line["name"] == "run.completed"]
    dropped = [line for line in said["lines"] if line["name"] == "forwarder.dropped"]
    assert runs == sorted(set(runs))
    assert runs[-1] == 2499
    assert sum(line["metadata"]["count"] for line in dropped) == 2500 - len(runs) + 2
    assert said["calls"] < 60


REFUSED = """
const out = forwarder("http://127.0.0.1:" + process.argv[1]);
const before = Date.now();
for (let n = 0; n < 10; n += 1) out.onEvent({ type: "run.completed", runId: "r", ts: 1 });
const took = Date.now() - before;
await out.flush();
console.log(JSON.stringify({ took }));
"""


def test_nothing_blocks_when_nobody_listens():
    assert node(REFUSED, free_port())["took"] < 500


HOOKS = """
const handlers = {}, services = [];
const api = { pluginConfig: { url: process.argv[1] }, on: (n, f) => { handlers[n] = f; },
  registerService: (s) => services.push(s) };
plugin.register(api);
await services[0].start(); // the SDK is not there: the typed hooks are used
const ctx = { runId: "r", sessionId: "s", trace: { traceId: "a".repeat(32), spanId: "b".repeat(16) } };
handlers.model_call_ended({ outcome: "error", failureKind: "rate_limit", provider: "p", model: "m", durationMs: 5, callId: "c" }, ctx);
handlers.after_tool_call({ toolName: "ls", params: { secret: 1 }, result: "secret", durationMs: 2 }, ctx);
handlers.llm_output({ prompt: "secret", assistantTexts: ["secret"], lastAssistant: { stopReason: "stop" }, usage: { total: 7 } }, ctx);
await services[0].stop();
console.log("{}");
"""


def test_without_the_events_it_falls_back_to_hooks_and_sends_no_content(tmp_path):
    with Gunicorn(tmp_path) as server:
        node(HOOKS, f"http://127.0.0.1:{server.port}/")
        wait_until(lambda: len(server.rows("SELECT * FROM custom_events")) == 2)
        (call,) = server.rows("SELECT * FROM llm_traces")
        assert (call["status"], call["latency_ms"], call["session_id"]) == ("rate_limited", 5, "s")
        stored = repr([server.rows(f"SELECT * FROM {t}") for t in ("llm_traces", "custom_events")])
        assert "secret" not in stored
        names = {row["name"] for row in server.rows("SELECT name FROM custom_events")}
        assert names == {"tool.execution.completed", "run.completed"}


def test_it_is_small_and_needs_nothing():
    assert len(PLUGIN.read_text().splitlines()) < 80
    package = json.loads(PLUGIN.with_name("package.json").read_text())
    assert (package["license"], "dependencies" in package) == ("MIT", False)
