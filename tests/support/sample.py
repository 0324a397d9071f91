"""Two weeks of an agent: what a real gateway reported, and calls made up around it."""

import json
import random

from tests.support.forwarder import call_of, error_of, event_of
from tests.support.gunicorn import PROJECT

CAPTURE = PROJECT / "tests/captures/openclaw-2026.9.6-events.jsonl"
"""Recorded from a real gateway on loopback; every key and token in it is a fake."""

HOUR_MS = 3_600_000
MODELS = {  # weight, prompt tokens, completion tokens, milliseconds
    ("anthropic", "claude-sonnet-4-5"): (10, 18_000, 700, 6000),
    ("anthropic", "claude-haiku-4-5"): (6, 6000, 250, 1800),
    ("openai", "gpt-5-mini"): (5, 5000, 400, 2500),
    ("anthropic", "claude-opus-4-5"): (1, 30_000, 1500, 14_000),
    ("ollama", "qwen3:8b"): (2, 3000, 300, 9000),
}
FAILURES = (
    ("rate_limited", "rate_limit_error", "429 rate limit reached, try again in 20 s"),
    ("timeout", "timeout", "no answer within 60 s"),
    ("error", "overloaded_error", "529 overloaded"),
    ("error", "invalid_request_error", "prompt is too long: 213004 tokens > 200000 maximum"),
)


def captured(path=CAPTURE):
    """The gateway's diagnostic events, each once."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line.get("internal") and line["evt"] for line in lines]
    return list({event["seq"]: event for event in events if event and "seq" in event}.values())


def recorded():
    """The captured events as a forwarder plugin sends them: route → bodies."""
    events = captured()
    calls = [e for e in events if e["type"] in ("model.call.completed", "model.call.error")]
    failed = [e for e in calls if e["type"] == "model.call.error"]
    return {
        "/v1/traces": [call_of(event) for event in calls],
        "/v1/errors": [error_of(event) for event in failed],
        "/v1/events": [event_of(event) for event in events if event not in calls],
    }


def generated(until_ms, *, days=7, per_day=60, seed=1):
    """Calls of some sessions, more of them by day than by night; a few fail."""
    chance = random.Random(seed)
    bodies = {"/v1/traces": [], "/v1/errors": []}
    names, weights = list(MODELS), [model[0] for model in MODELS.values()]
    for n in range(days * per_day):
        at = until_ms - round(days * 24 * HOUR_MS * chance.betavariate(1.3, 1.0)) - 1
        provider, model = name = chance.choices(names, weights)[0]
        _, prompt, completion, latency_ms = MODELS[name]
        size = chance.lognormvariate(0, 0.6)
        call = {
            "timestamp": at,
            "provider": provider,
            "model": model,
            "prompt_tokens": round(prompt * size),
            "cache_read_tokens": round(prompt * size * chance.uniform(0, 0.9)),
            "completion_tokens": round(completion * chance.lognormvariate(0, 0.7)),
            "latency_ms": round(latency_ms * chance.lognormvariate(0, 0.5)),
            "ttft_ms": round(latency_ms * 0.2 * chance.lognormvariate(0, 0.4)),
            "session_id": f"telegram:{4242 + n % 9 * (n % 2)}",
        }
        if chance.random() < 0.05:
            status, error_type, message = chance.choice(FAILURES)
            del call["completion_tokens"]
            call |= {"status": status, "error_type": error_type}
            error = {"error_type": "llm_error", "message": message, "timestamp": at}
            bodies["/v1/errors"].append(error | {"provider": provider, "model": model})
        bodies["/v1/traces"].append(call)
    return bodies


def fill(server, *bodies):
    """Posts all of them to a running sidecar and waits until they are stored."""
    for routes in bodies:
        for route, events in routes.items():
            for start in range(0, len(events), 200):
                status, answer = server.post(route, events[start : start + 200], Prefer="wait")
                assert (status, answer["rejected"]) == (200, 0), answer
