"""Calls of language models as Prometheus families, named after OpenTelemetry's GenAI conventions
where those have a name.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from tracer.call_counts import CallGroup, Names

LABELS: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


def families(groups: Iterable[tuple[Names, CallGroup]]) -> Iterator[Metric]:
    """Two histograms of the conventions, and what those lack: calls by status, and cost."""
    tokens = HistogramMetricFamily(
        "gen_ai_client_token_usage",
        "tokens of a call, cached ones included",
        labels=[*LABELS, "gen_ai_token_type"],
    )
    seconds = HistogramMetricFamily(
        "gen_ai_client_operation_duration_seconds",
        "duration of a call; error_type is empty for a success",
        labels=[*LABELS, "error_type"],
    )
    calls = CounterMetricFamily(
        "openclaw_trace_llm_calls", "calls stored", labels=[*LABELS, "status"]
    )
    cost = CounterMetricFamily("openclaw_trace_llm_cost_usd", "their cost", labels=LABELS)
    without_cost = CounterMetricFamily(
        "openclaw_trace_llm_calls_without_cost", "calls whose cost is not known", labels=LABELS
    )
    for names, group in groups:
        for token_type, histogram in group.tokens.items():
            tokens.add_metric([*names, token_type], histogram.buckets(), histogram.sum)
        for error_type, histogram in list(group.seconds.items()):
            seconds.add_metric([*names, error_type], histogram.buckets(), histogram.sum)
        for status, count in list(group.statuses.items()):
            calls.add_metric([*names, status], count)
        cost.add_metric(names, group.cost_usd)
        without_cost.add_metric(names, group.without_cost)
    yield from (tokens, seconds, calls, cost, without_cost)
