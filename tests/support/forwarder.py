"""Maps what an OpenClaw gateway says of a model call to our fields, as a forwarder plugin would."""


def call_of(event):
    """The llm_trace of a `model.call.completed` or `model.call.error` event (OpenClaw 2026.9)."""
    usage = event.get("usage", {})
    failed = event["type"] == "model.call.error"
    call = {
        "trace_id": event["trace"]["traceId"],
        "span_id": event["trace"]["spanId"],
        "parent_span_id": event["trace"]["parentSpanId"],
        "timestamp": event["ts"],
        "provider": event["provider"],
        "model": event["model"],
        "prompt_tokens": usage.get("promptTokens"),
        "completion_tokens": usage.get("output"),
        "cache_read_tokens": usage.get("cacheRead"),
        "cache_write_tokens": usage.get("cacheWrite"),
        "total_tokens": usage.get("total"),
        "cost_usd": usage.get("cost", {}).get("total"),
        "latency_ms": event["durationMs"],
        "ttft_ms": event.get("timeToFirstByteMs"),
        "status": "error" if failed else "success",
        "error_type": event.get("errorCategory"),
        "session_id": event["sessionId"],
        "run_id": event["runId"],
        "metadata": {"call_id": event["callId"], "prompt_stats": event["promptStats"]},
        "api": event["api"],
    }
    return {name: value for name, value in call.items() if value is not None}


def error_of(event):
    """The error_event of a failed call."""
    return {
        "error_type": "llm_error",
        "message": f"{event['provider']}/{event['model']}: {event['errorCategory']}",
        "provider": event["provider"],
        "model": event["model"],
        "session_id": event["sessionId"],
        "timestamp": event["ts"],
        "trace_id": event["trace"]["traceId"],
        "span_id": event["trace"]["spanId"],
    }


def event_of(event):
    """The custom_event of anything else with a type."""
    return {
        "name": event["type"],
        "timestamp": event["ts"],
        "session_id": event.get("sessionId"),
        "run_id": event.get("runId"),
        "duration_ms": event.get("durationMs"),
        "metadata": event,
    }
