"""The real gateway, from npm, beside a real sidecar: `make e2e-openclaw`.

Installs node and openclaw into a scratch folder, then goes on without a network but loopback. Runs
agent turns against a provider that answers and fails, kills the gateway, breaks its
configuration, and compares what the provider did with what is in our store.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.provider import MODELS, SLOW_S, Provider
from tests.support import wait_until
from tests.support.gunicorn import PROJECT, Gunicorn, assert_balanced, free_port

PACKAGES = ("node@24", "openclaw@2026.9.6")
ISOLATED = "E2E_ISOLATED"
PRICE = {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75}  # US dollars per million
PLUGIN_ID = "openclaw-trace-forwarder"


def install(folder):
    """node first: npm runs openclaw's install script with it."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = os.environ | {"PATH": f"{folder}/node_modules/.bin:{os.environ['PATH']}"}
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"private": true}')
    for package in PACKAGES:
        if not (folder / "node_modules" / package.partition("@")[0]).exists():
            print(f"installing {package} into {folder}", flush=True)
            command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", package]
            subprocess.run(command, cwd=folder, env=environ, check=True)


def isolate():
    """Goes on in a network namespace that has loopback only, where the kernel lets us."""
    if ISOLATED in os.environ:
        return
    inner = "ip link set lo up && exec " + " ".join([sys.executable, "-m", "tests.e2e.openclaw"])
    probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    if shutil.which("ip") and probe.returncode == 0:
        os.environ[ISOLATED] = "yes"
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", inner])
    print("no namespace to isolate in: going on as we are", flush=True)


class Gateway:
    """`openclaw gateway run` with a state folder, a home and a port of its own."""

    def __init__(self, folder, provider_url, sidecar_url):
        self.folder = folder
        self.port = free_port()
        self.home = folder / "home"
        self.log = self.home / "logs" / "openclaw.log"
        self.config_path = self.home / "state" / "openclaw.json"
        self.config_path.parent.mkdir()
        self.environ = {
            "PATH": f"{folder}/node_modules/.bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "OPENCLAW_STATE_DIR": str(self.config_path.parent),
            "DO_NOT_TRACK": "1",
        }
        self.write_config(self._config(provider_url, sidecar_url))

    def _config(self, provider_url, sidecar_url):
        models = [
            {"id": name, "name": name, "reasoning": False, "input": ["text"], "cost": PRICE,
             "contextWindow": 128000, "maxTokens": 4096}
            for name in MODELS
        ]  # fmt: skip
        return {
            "meta": {"lastTouchedVersion": "2026.9.6"},
            "gateway": {"mode": "local", "port": self.port, "bind": "loopback",
                        "auth": {"mode": "token", "token": "e2e-token"}},
            "update": {"checkOnStart": False},
            "agents": {"defaults": {"model": {"primary": "fake/fake-ok"},
                                    "workspace": str(self.home / "ws"),
                                    "heartbeat": {"every": "0m"}}},
            "models": {"mode": "merge", "providers": {"fake": {
                "baseUrl": provider_url, "apiKey": "sk-fake-e2e", "api": "openai-completions",
                "models": models}}},
            "diagnostics": {"enabled": True},
            "plugins": {
                "load": {"paths": [str(PROJECT / "config/openclaw-plugin")]},
                "entries": {PLUGIN_ID: {"enabled": True, "config": {"url": sidecar_url}}},
            },
            "logging": {"file": str(self.log)},
        }  # fmt: skip

    def write_config(self, config):
        self.config = config
        self.config_path.write_text(json.dumps(config, indent=2))

    def start(self):
        with (self.home / "console.txt").open("ab") as console:
            self.process = subprocess.Popen(
                ["openclaw", "gateway", "run", "--port", str(self.port)],
                env=self.environ,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        return self

    def turn(self, session, model="fake-ok", timeout_s=240):
        """Starts one agent turn by the command line."""
        command = ["openclaw", "agent", "--session-id", session, "--model", f"fake/{model}",
                   "--message", "hello", "--timeout", str(timeout_s)]  # fmt: skip
        return subprocess.Popen(
            command, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self, signum):
        os.killpg(self.process.pid, signum)
        return self.process.wait(400)


def check(what, is_true, detail=""):
    print(f"{'ok  ' if is_true else 'FAIL'} {what}{f': {detail}' if detail else ''}", flush=True)
    if not is_true:
        FAILED.append(what)


FAILED: list[str] = []


class Story:
    """The steps, and what the store must say after them."""

    def __init__(self, sidecar, gateway, provider):
        self.sidecar, self.gateway, self.provider = sidecar, gateway, provider

    def names(self, name):
        return self.sidecar.rows("SELECT * FROM custom_events WHERE name = ? ORDER BY id", name)

    def wait_for(self, name, count, timeout_s=120):
        started = time.monotonic()
        wait_until(lambda: len(self.names(name)) >= count, timeout_s)
        check(f"{name} seen in the log", True, f"after {time.monotonic() - started:.1f} s")

    def run_turns(self):
        for number in range(3):
            code = self.gateway.turn(f"s-ok-{number}").wait(300)
            check(f"turn {number} answered", code == 0, f"exit code {code}")
        # Five at once are much for two cores: some command lines give up before they connect.
        for _ in range(3):
            seen = {answer["model"] for answer in self.provider.answers}
            turns = [self.gateway.turn(f"s-{m}", m, 45) for m in MODELS if m not in seen]
            for turn in turns:
                turn.wait(300)
        time.sleep(3)  # the plugin's last batch

    def compare_calls(self):
        traces = self.sidecar.rows("SELECT * FROM llm_traces ORDER BY created_at")
        answers = self.provider.answers
        good = [a for a in answers if a["model"] in ("fake-ok", "fake-slow")]
        told = [t for t in traces if t["status"] == "success"]
        check("one trace per call", len(traces) == len(answers), f"{len(traces)} of {len(answers)}")
        check("by model", sorted(t["model"] for t in traces) == sorted(a["model"] for a in answers))
        wanted = sorted(
            (a["usage"]["prompt_tokens"], a["usage"]["completion_tokens"], 200) for a in good
        )
        found = sorted(
            (t["prompt_tokens"], t["completion_tokens"], t["cache_read_tokens"]) for t in told
        )
        check("the provider's tokens", wanted == found, f"{found}")
        check("the right cost", all(abs(t["cost_usd"] - cost_of(t)) < 1e-9 for t in told),
              f"{[t['cost_usd'] for t in told]}")  # fmt: skip
        sessions = {t["session_id"] for t in told}
        check(
            "session ids", sessions == {"s-ok-0", "s-ok-1", "s-ok-2", "s-fake-slow"}, f"{sessions}"
        )
        slow = [t for t in told if t["model"] == "fake-slow"]
        check("latency and time to first byte", all(t["latency_ms"] >= 1000 * SLOW_S <= 1000 + t["ttft_ms"]
              for t in slow), f"{[(t['latency_ms'], t['ttft_ms']) for t in slow]}")  # fmt: skip
        check(
            "ids and runs", all(t["otel_trace_id"] and t["span_id"] and t["run_id"] for t in traces)
        )
        failed = {
            (t["model"], t["status"], t["error_type"]) for t in traces if t["status"] != "success"
        }
        check("failed calls are marked", {m for m, _, _ in failed} == set(MODELS) - {"fake-ok", "fake-slow"},
              f"{sorted(failed)}")  # fmt: skip

    def compare_errors(self):
        rows = self.sidecar.rows(
            "SELECT model, category, message, metadata ->> 'source' AS source, metadata ->> 'count' "
            "AS count FROM error_events WHERE error_type = 'llm_error' ORDER BY id"
        )
        by_log = [r for r in rows if r["source"] == "log"]
        for model, category in (
            ("fake-429", "rate_limit"),
            ("fake-500", "provider_down"),
            ("fake-401", "auth"),
        ):
            mine = [r for r in by_log if r["model"] == model]
            calls = sum(a["model"] == model for a in self.provider.answers)
            check(f"{model} is one {category} in the log", [r["category"] for r in mine] == [category],
                  f"count {[r['count'] for r in mine]} for {calls} calls: {[r['message'] for r in mine]}")  # fmt: skip
        by_plugin = [r for r in rows if r["source"] == "plugin"]
        check("the plugin told each failed call", len(by_plugin) == sum(
            a["model"] not in ("fake-ok", "fake-slow") for a in self.provider.answers),
            f"{sorted({(r['model'], r['category'], r['message']) for r in by_plugin})}")  # fmt: skip

    def kill_and_break(self):
        self.gateway.stop(signal.SIGKILL)
        self.gateway.start()
        self.wait_for("gateway.ready", 2)
        crashes = self.sidecar.rows("SELECT * FROM error_events WHERE error_type = 'crash'")
        check("the kill was noticed", [c["category"] for c in crashes] == ["process_crash"])
        good = json.loads(self.gateway.config_path.read_text())
        self.gateway.write_config(good | {"bogusKey": True})
        self.wait_for("config.rejected", 1, 60)
        changed = len(self.names("config.changed"))
        good["agents"]["defaults"]["maxConcurrent"] = 3
        self.gateway.write_config(good)
        self.wait_for("config.changed", changed + 1, 60)
        self.wait_for("config.applied", 1, 60)
        code = self.gateway.stop(signal.SIGTERM)
        self.wait_for("gateway.shutdown", 1)
        check("a clean stop", code == 0, f"exit code {code}")

    def compare_rest(self):
        dumped = repr([self.sidecar.rows(f"SELECT * FROM {table}") for table in
                       ("llm_traces", "error_events", "custom_events")])  # fmt: skip
        check("no answer of the model in the store", "SECRET-ANSWER" not in dumped)
        check("no key in the store", "sk-fake-e2e" not in dumped)
        check("run ends told by the plugin", len(self.names("run.completed")) >= 4)
        health = self.sidecar.health()
        assert_balanced(health["events"])
        check(
            "nothing rejected or lost",
            not health["events"]["rejected"] and not health["events"]["lost"],
        )
        check("no warning", not health["warnings"], f"{health['warnings']}")
        print(json.dumps(health["events"]))
        for row in self.sidecar.rows(
            "SELECT name, metadata ->> 'source' AS source, count(*) AS n FROM custom_events GROUP BY 1, 2"
        ):
            print(f"     {row['n']:4} {row['name']} ({row['source']})")


def cost_of(trace):
    uncached = trace["prompt_tokens"] - trace["cache_read_tokens"]
    return (uncached * PRICE["input"] + trace["cache_read_tokens"] * PRICE["cacheRead"]
            + trace["completion_tokens"] * PRICE["output"]) / 1e6  # fmt: skip


def main():
    folder = Path(os.environ.get("E2E_FOLDER", "/var/tmp/openclaw-trace-e2e")).resolve()
    install(folder)
    isolate()
    for part in ("sidecar", "home"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir()
    with Provider() as provider:
        log = folder / "home" / "logs" / "openclaw.log"
        with Gunicorn(folder / "sidecar", TRACE_LOG_PATH=str(log)) as sidecar:
            gateway = Gateway(folder, provider.url, f"http://127.0.0.1:{sidecar.port}")
            story = Story(sidecar, gateway, provider)
            gateway.start()
            try:
                story.wait_for("gateway.ready", 1, 180)
                story.run_turns()
                story.compare_calls()
                story.kill_and_break()
                story.compare_errors()  # runs that were killed are over with the next start
                story.compare_rest()
            finally:
                if gateway.process.poll() is None:
                    gateway.stop(signal.SIGKILL)
    print(f"{len(FAILED)} failed: {FAILED}" if FAILED else "all as it should be")
    return bool(FAILED)


if __name__ == "__main__":
    sys.exit(main())
