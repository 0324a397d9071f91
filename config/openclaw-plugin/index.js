// Forwards what the gateway knows of its model calls to openclaw-trace. MIT. No content leaves.
const MAX_WAITING = 1000, BATCH = 100, PAUSE_MS = 200, RETRY_MS = 2000, TIMEOUT_MS = 5000;
const OTHERS = new Set(["tool.execution.completed", "tool.execution.error", "tool.execution.blocked",
  "run.completed", "tool.loop", "session.stuck", "session.stalled"]);

export function callOf(e) {
  const u = e.usage ?? {}, failed = e.type === "model.call.error" || e.outcome === "error";
  const used = (u.promptTokens ?? u.input ?? 0) + (u.output ?? 0) > 0;
  const kind = `${e.failureKind ?? ""} ${e.errorCategory ?? ""}`.toLowerCase();
  return {
    trace_id: e.trace?.traceId ?? e.callId, span_id: e.trace?.spanId, parent_span_id: e.trace?.parentSpanId,
    timestamp: (e.ts ?? Date.now()) - (e.durationMs ?? 0), provider: e.provider, model: e.model,
    ...(used && { prompt_tokens: u.promptTokens ?? u.input + (u.cacheRead ?? 0) + (u.cacheWrite ?? 0),
      completion_tokens: u.output, cache_read_tokens: u.cacheRead, cache_write_tokens: u.cacheWrite,
      cost_usd: u.cost?.total || undefined }), // 0: the gateway has no price for the model
    latency_ms: e.durationMs, ttft_ms: e.timeToFirstByteMs, session_id: e.sessionId, run_id: e.runId,
    status: !failed ? "success" : /rate.?limit|429/.test(kind) ? "rate_limited" : /time.?out/.test(kind) ? "timeout" : "error",
    error_type: failed ? e.failureKind ?? e.errorCategory ?? "error" : undefined,
    metadata: { source: "plugin", call_id: e.callId, session_key: e.sessionKey, api: e.api, unit: e.observationUnit,
      request_bytes: e.requestPayloadBytes, response_bytes: e.responseStreamBytes, run_usage: e.runUsage },
  };
}

export function forwarder(url, apiKey, send = fetch) {
  const queue = [];
  let dropped = 0, timer, busy = false;
  const headers = { "content-type": "application/x-ndjson", ...(apiKey && { authorization: `Bearer ${apiKey}` }) };
  const later = (ms) => { timer ??= setTimeout(() => { timer = undefined; void flush(); }, ms); timer.unref?.(); };
  const put = (route, event) => {
    if (queue.push([route, event]) > MAX_WAITING) { queue.shift(); dropped += 1; }
    if (!busy) later(PAUSE_MS);
  };
  async function flush() {
    if (busy || !queue.length) return;
    busy = true;
    let pause = PAUSE_MS;
    try {
      if (dropped) { queue.unshift(["/v1/events", { name: "forwarder.dropped", severity: "warning", metadata: { source: "plugin", count: dropped } }]); dropped = 0; }
      const batch = queue.splice(0, BATCH), again = [];
      for (const route of new Set(batch.map(([r]) => r))) {
        const mine = batch.filter(([r]) => r === route);
        const body = mine.map(([, event]) => JSON.stringify(event)).join("\n");
        const status = await send(url + route, { method: "POST", headers, body, redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) })
          .then((r) => { void r.body?.cancel(); return r.status; }, () => 0);
        if (status === 0 || status === 429 || status >= 500) again.push(...mine); // ids make it safe
        else if (status >= 400) dropped += mine.length;
      }
      if (again.length) { queue.unshift(...again); pause = RETRY_MS; }
    } catch { /* never into the gateway */ } finally { busy = false; if (queue.length) later(pause); }
  }
  const call = (e) => {
    const trace = callOf(e);
    put("/v1/traces", trace);
    if (trace.status !== "success") put("/v1/errors", { trace_id: trace.trace_id, span_id: trace.span_id, timestamp: e.ts,
      provider: e.provider, model: e.model, session_id: e.sessionId, metadata: { source: "plugin", run_id: e.runId, call_id: e.callId }, error_type: "llm_error",
      message: `${e.provider}/${e.model}: ${[e.failureKind, e.errorCategory].filter(Boolean).join(" ") || "failed"}` });
  };
  const other = (e) => put("/v1/events", { trace_id: e.trace?.traceId ?? `${e.type}:${e.runId}:${e.toolCallId ?? e.ts}`, span_id: e.trace?.spanId, name: e.type, timestamp: e.ts,
    session_id: e.sessionId, run_id: e.runId, duration_ms: e.durationMs, metadata: { ...e, source: "plugin", trace: undefined } });
  return { flush, onEvent: (e) => { try {
    if (e.type === "model.call.completed" || e.type === "model.call.error") call(e); else if (OTHERS.has(e.type)) other(e);
  } catch { dropped += 1; } } };
}

export default { id: "openclaw-trace-forwarder", name: "openclaw-trace forwarder", register(api) {
  const config = api.pluginConfig ?? {}, out = forwarder((config.url ?? "http://127.0.0.1:9090").replace(/\/+$/, ""), config.apiKey);
  let stop, hooked = false; // where the events are closed to plugins, the typed hooks tell less: tokens per run only
  const hook = (name, type, more) => api.on(name, (e, ctx) => { if (hooked) out.onEvent({ ...ctx, ...e, ...more?.(e), type: typeof type === "function" ? type(e) : type, ts: Date.now() }); });
  hook("model_call_ended", (e) => e.outcome === "error" ? "model.call.error" : "model.call.completed");
  hook("after_tool_call", (e) => e.error ? "tool.execution.error" : "tool.execution.completed", () => ({ params: undefined, result: undefined, trace: undefined })); // the run's span, not its own
  hook("llm_output", "run.completed", (e) => ({ prompt: undefined, assistantTexts: undefined, lastAssistant: undefined, trace: undefined, outcome: e.lastAssistant?.stopReason }));
  api.registerService({ id: "openclaw-trace-forwarder",
    async start() { // not in register(): that runs twice
      try { stop = (await import("openclaw/plugin-sdk/diagnostic-runtime")).onInternalDiagnosticEvent(out.onEvent); } catch { hooked = true; }
    },
    async stop() { stop?.(); await out.flush(); } });
} };
