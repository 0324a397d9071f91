"""What comes of real logs of three versions (`tests/captures/logs`), and of odd lines."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gunicorn import PROJECT
from tracer.events import ErrorEvent
from tracer.openclaw_log import GatewayLog

LOGS = PROJECT / "tests/captures/logs"
LATER = 10**15
ANSWER = "Hello from the fake model"


def events_of(name, *, restart_every=None):
    """All events of a capture; with `restart_every` the state is saved and loaded now and then."""
    gateway, found = GatewayLog(), []
    for number, line in enumerate((LOGS / f"{name}.jsonl").read_bytes().splitlines()):
        if restart_every and number % restart_every == 0:
            dumped = json.loads(json.dumps(gateway.dump()))
            gateway = GatewayLog()
            gateway.load(dumped)
        events = gateway.feed(line, f"file:{number}", 0)
        assert events is not None, line
        found += events
    return found + gateway.over(LATER)


def names(found):
    return Counter(e["name"] for kind, e in found if "name" in e)


def errors(found, error_type):
    return [e for kind, e in found if kind is ErrorEvent and e["error_type"] == error_type]


def line(message, subsystem="gateway", level="INFO", time="2026-11-22T00:00:00.000Z", **more):
    name = subsystem if subsystem == "openclaw" else json.dumps({"subsystem": subsystem})
    meta = {"name": name, "logLevelName": level}
    return json.dumps({"0": name, "_meta": meta, "time": time, "message": message, **more}).encode()


def feed(gateway, *lines):
    return [
        found
        for number, text in enumerate(lines)
        for found in gateway.feed(text, f"f:{number}", 0) or []
    ]


def test_a_session_of_2026_9_6_becomes_its_story():
    found = events_of("2026.9.6")
    assert names(found) == {
        "gateway.start": 1,
        "gateway.listening": 2,
        "gateway.ready": 2,
        "gateway.restarting": 1,
        "gateway.stopping": 1,
        "gateway.shutdown": 2,
        "config.changed": 5,
        "config.applied": 3,
        "config.rejected": 2,
        "config.anomaly": 1,
        "config.needs_restart": 1,
        "channel.started": 2,
        "channel.exited": 1,
        "channel.restart_skipped": 1,
        "message.received": 1,
        "message.sent": 1,
    }
    shutdown = [e for _, e in found if e.get("name") == "gateway.shutdown"][-1]
    assert shutdown["duration_ms"] == "177"
    rejected = [e for _, e in found if e.get("name") == "config.rejected"]
    assert "bogusKey" in rejected[0]["metadata"]["reason"]
    assert errors(found, "crash") == []
    assert all(e["metadata"]["source"] == "log" for _, e in found)
    assert all(e["metadata"]["subsystem"] for _, e in found)


def test_retries_of_a_run_are_one_error_with_a_count():
    """The provider failed 8, 9 and 1 times, in about fifty lines each for the first two."""
    failures = errors(events_of("2026.9.6"), "llm_error")
    told = {
        e["model"]: (e["category"], e["metadata"]["count"], e["metadata"]["outcome"])
        for e in failures
    }
    assert told == {
        "fake-500": ("provider_down", 8, "chain_exhausted"),
        "fake-429": ("rate_limit", 9, "caller_signal_aborted"),
        "fake-401": ("auth", 1, "chain_exhausted"),
    }
    assert len(failures) == 3
    assert [e["session_id"] for e in failures] == [
        "sess-fake-500",
        "sess-fake-429",
        "sess-fake-401",
    ]
    assert failures[0]["metadata"]["run_id"] == "4a883a45-a5f5-4250-ab4f-23baff6ffd9d"
    assert failures[0]["metadata"]["status_code"] == 500
    assert failures[0]["timestamp"] < failures[0]["metadata"]["last_at"]


def test_a_kill_shows_at_the_next_start_and_a_refused_start_is_no_kill():
    found = events_of("2026.9.6-kill")
    (crash,) = errors(found, "crash")
    assert crash["category"] == "process_crash"
    assert crash["metadata"]["last_seen_at"] < crash["timestamp"]
    assert names(found)["gateway.start"] == 3
    assert names(found)["gateway.start_failed"] == 1
    assert any("Invalid config" in e["message"] for e in errors(found, "system_error"))


def test_version_2026_4_29():
    found = events_of("2026.4.29")
    assert names(found)["gateway.start"] == names(found)["gateway.ready"] == 1
    (failure,) = errors(found, "llm_error")  # two lanes, then the run: the same failure
    assert failure["category"] == "timeout"
    assert failure["metadata"]["lines"] == 3
    stalls = [e for e in errors(found, "system_error") if "stall detected (" in e["message"]]
    assert [e["metadata"]["channel"] for e in stalls] == ["telegram"]
    assert errors(found, "crash") == []


def test_version_2026_2_12():
    found = events_of("2026.2.12")
    assert names(found)["gateway.start"] == 2  # one of them in the same process
    assert names(found)["config.rejected"] == 2
    assert errors(found, "crash") == []


@pytest.mark.parametrize("name", ["2026.2.12", "2026.9.6"])
def test_the_model_s_answers_are_not_kept(name):
    assert ANSWER in (LOGS / f"{name}.jsonl").read_text()
    assert ANSWER not in repr(events_of(name))


@pytest.mark.parametrize("name", ["2026.2.12", "2026.4.29", "2026.9.6", "2026.9.6-kill"])
def test_a_restart_anywhere_changes_nothing(name):
    assert events_of(name, restart_every=1) == events_of(name)


def test_an_answer_that_looks_like_a_log_line_is_no_event():
    assert feed(GatewayLog(), line("Gateway failed to start: so it said", "openclaw")) == []


def test_a_kill_is_told_for_2026_2_too():
    listening = "listening on ws://127.0.0.1:18789 (PID {})"
    found = feed(GatewayLog(), line(listening.format(1)), line(listening.format(2)))
    assert len(errors(found, "crash")) == 1


def test_two_runs_that_fail_alike_are_two_errors():
    def failed(run):
        fields = {"event": "model_fallback_decision", "runId": run, "reason": "auth"}
        return line("decision", "agent/embedded", "WARN", **{"1": fields})

    found = feed(GatewayLog(), failed("a"), failed("b"), failed("a"))
    assert [e["metadata"]["run_id"] for _, e in found] == ["a", "b"]


def test_errors_of_one_text_are_counted_until_half_a_minute_is_over():
    gateway = GatewayLog()
    found = feed(
        gateway,
        *(
            line(f"x failed after {n} s", "telegram", "ERROR", f"2026-11-22T00:00:{n:02}.000Z")
            for n in range(40)
        ),
    )
    assert [e["metadata"]["count"] for _, e in found + gateway.over(LATER)] == [30, 10]


def test_a_flood_of_different_errors_is_bounded():
    gateway = GatewayLog()
    texts = [chr(103 + n % 20) * (n // 20 + 1) for n in range(2000)]
    found = feed(gateway, *(line(f"bad {text}", "cron", "ERROR") for text in texts))
    assert len(found) + len(gateway.over(LATER)) == 2000
    feed(gateway, *(line(f"bad {text}" + "y" * 10**5, "cron", "ERROR") for text in texts[:100]))
    assert len(json.dumps(gateway.dump())) < 200_000


def test_console_output_is_understood_as_far_as_it_goes():
    found = feed(
        GatewayLog(),
        b"\x1b[90m2026-11-22T00:37:15.665Z\x1b[0m \x1b[36m[gateway]\x1b[0m loading configuration\xe2\x80\xa6\n",
        b"[gateway] ready\n",
        b"2026-11-22T00:37:16.665Z [reload] config change detected; evaluating reload (a.b)\n",
        b"2026-11-22T00:37:17.665Z [telegram] [default] channel exited: Unauthorized | x\n",
        b"2026-11-22T00:37:18.665Z [gateway] loading configuration\xe2\x80\xa6\n",
    )
    assert list(names(found)) == [
        "gateway.start",
        "gateway.ready",
        "config.changed",
        "channel.exited",
    ]
    assert len(errors(found, "crash")) == 1
    assert found[0].event["timestamp"] == 1795307835665


def test_a_line_behind_half_a_line_is_read():
    half = line("gateway ready")[:40]
    assert names(feed(GatewayLog(), half + line("gateway ready"))) == {"gateway.ready": 1}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\0\0\xff\xfe",
        b"{}",
        b"[1, 2]",
        b'{"_meta": 3}',
        b'{"level":"info","msg":"not ours"}',
        b"Nov 22 00:00:00 host kernel: hello",
        b"[" * 200_000,
        b'{"0":' * 60_000,
        line("hello", "some/thing-else"),
        line("hello", level="NOTICE"),
    ],
)
def test_what_is_not_openclaw_s_is_not_understood(text):
    assert GatewayLog().feed(text, "x", 0) is None


ODD = (
    st.none()
    | st.integers()
    | st.text()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text())
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["embedded_run_agent_end", "model_fallback_decision", 3, []])
        | ODD,
        "runId": ODD,
        "sessionId": ODD,
        "reason": ODD,
        "decision": ODD,
        "errorPreview": ODD,
        "provider": ODD,
        "status": ODD,
    },
)


@given(
    st.lists(
        st.builds(
            line,
            st.sampled_from(
                ['lane task error: lane=a durationMs=1 error="x"', "closed before connect", "ready"]
            )
            | st.text(),
            st.sampled_from(["gateway", "gateway/ws", "diagnostic", "channels/x", "openclaw"])
            | st.text(),
            st.sampled_from(["INFO", "WARN", "ERROR", "FATAL"]),
            st.sampled_from(["2026-11-22T00:00:00.000Z", "nonsense", None]),
            **{"trace_id": st.text()},
        )
        | st.builds(lambda f: line("x", "agent", "WARN", **{"1": f, "traceId": "t"}), FIELDS)
        | st.binary(),
        max_size=20,
    )
)
def test_no_line_raises_and_the_state_survives(lines):
    gateway = GatewayLog()
    found = feed(gateway, *lines)
    other = GatewayLog()
    other.load(json.loads(json.dumps(gateway.dump())))
    assert other.over(LATER) == gateway.over(LATER)
    for kind, event in found:
        assert kind is not None
        json.dumps(event)
