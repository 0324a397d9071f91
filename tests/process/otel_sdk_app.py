"""An application with the OpenTelemetry SDK, as its documentation sets it up. Prints what it did."""

import json
import logging

from opentelemetry import _logs, metrics, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

OLD = {
    "gen_ai.system": "vertex_ai",
    "gen_ai.request.model": "gemini-2.5-pro",
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 7,
    "gen_ai.usage.cache_creation_input_tokens": 5,
}
NEW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "gcp.vertex_ai",
    "gen_ai.request.model": "gemini-2.5-pro",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.cache_write.input_tokens": 5,
}


class RateLimitError(Exception):
    pass


def main():
    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_export_batch_size=512))
    trace.set_tracer_provider(spans)
    tracer = trace.get_tracer("app")
    for attributes in (OLD, NEW):
        with tracer.start_as_current_span("chat gemini-2.5-pro", attributes=attributes):
            pass
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 60_000}
    call = NEW | {"gen_ai.provider.name": "openai"}
    with tracer.start_as_current_span("invoke_agent a", attributes=agent):
        for _ in range(599):
            with tracer.start_as_current_span("chat gpt-5", attributes=call):
                pass
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ls"}
        with tracer.start_as_current_span("execute_tool ls", attributes=tool):
            pass
        try:
            failed = call | {"error.type": "RateLimitError"}
            with tracer.start_as_current_span("chat gpt-5", attributes=failed):
                raise RateLimitError("slow down")
        except RateLimitError:
            pass
    spans.force_flush()

    twice = TracerProvider()  # as after a lost answer
    for _ in range(2):
        twice.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    with twice.get_tracer("app").start_as_current_span("chat x", attributes=NEW) as span:
        span.set_attribute("gen_ai.provider.name", "openai")
    twice.shutdown()

    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    _logs.set_logger_provider(logs)
    record = {"severity_number": _logs.SeverityNumber.WARN, "body": "careful"}
    _logs.get_logger("app").emit(_logs.LogRecord(**record))
    logs.shutdown()

    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    metrics.set_meter_provider(meters)
    meter = metrics.get_meter("app")
    meter.create_histogram("gen_ai.client.token.usage", "{token}").record(
        100, {"gen_ai.token.type": "input"}
    )
    meter.create_counter("requests").add(1)
    meters.shutdown()
    spans.shutdown()
    print(json.dumps({"calls": 2 + 599 + 1 + 1, "sent_twice": 1}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
