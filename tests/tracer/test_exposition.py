import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from config.settings import load
from tests.support.gunicorn import PROJECT
from tracer import call_metrics
from tracer.call_counts import MAX_GROUPS, CallCounts
from tracer.events import LlmTrace, SystemMetric
from tracer.exposition import Exposition
from tracer.ledger import Deletion, Loss, Rejection
from tracer.quality import Finding
from tracer.service import Service

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def service(tmp_path):
    """Built, not started, its database open: everything has its first value."""
    service = Service(load({"TRACE_DB_PATH": str(tmp_path / "trace.db")}))
    service.store.open()
    yield service
    service.store.close()


def scrape(read, accept="text/plain"):
    """(name, labels) → value, as the client's own parser reads it."""
    body, content_type = Exposition(read).render(accept)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


def note_calls(service, decoders, *calls):
    service.calls.note([decoders[LlmTrace].decode(json.dumps(c).encode(), 1) for c in calls])


def test_the_ledger_is_there_with_all_reasons(service):
    service.ledger.accept(3)
    service.ledger.reject(Rejection.NOT_JSON, 2)
    service.ledger.settle(1, 1, 1, Loss.ROW_REFUSED)
    found = scrape(service.readings)
    assert found["openclaw_trace_events_received_total", ()] == 5
    assert found["openclaw_trace_events_accepted_total", ()] == 3
    assert found["openclaw_trace_events_stored_total", ()] == 1
    assert found["openclaw_trace_events_duplicate_total", ()] == 1
    for reason in Rejection:
        value = found["openclaw_trace_events_rejected_total", (("reason", reason),)]
        assert value == (2 if reason is Rejection.NOT_JSON else 0)
    for reason in Loss:
        value = found["openclaw_trace_events_lost_total", (("reason", reason),)]
        assert value == (1 if reason is Loss.ROW_REFUSED else 0)


def test_rows_and_deletions(service):
    service.store.row_counts = {"stored": 9, "pushed": 2, "unpushed": 4, "deleted.age": 3}
    found = scrape(service.readings)
    assert found["openclaw_trace_rows_stored_total", ()] == 9
    states = {s: found["openclaw_trace_rows", (("state", s),)] for s in ("pushed", "unpushed")}
    assert states == {"pushed": 2, "unpushed": 4}
    for reason in Deletion:
        for name in (reason, f"{reason}_unpushed"):
            value = found["openclaw_trace_rows_deleted_total", (("reason", name),)]
            assert value == (3 if name == "age" else 0)


def test_rows_are_not_zero_while_the_database_is_not_open(tmp_path):
    """Prometheus takes a counter that falls to 0 for one that began anew."""
    service = Service(load({"TRACE_DB_PATH": str(tmp_path / "trace.db")}))

    def shown():
        return {name for name, _ in scrape(service.readings) if "trace_rows" in name}

    assert not shown()
    service.store.open()
    try:
        assert "openclaw_trace_rows_stored_total" in shown()
    finally:
        service.store.close()


def test_exactly_one_state_of_the_breaker(service):
    found = scrape(service.readings)
    states = [value for (name, _), value in found.items() if name == "openclaw_trace_push_breaker"]
    assert sorted(states) == [0, 0, 1]


def test_the_host_is_in_base_units_and_what_is_not_known_is_absent(service):
    service.sampler.latest = {
        "cpu_percent": 12.5,
        "cpu_scope": "host",
        "dns_ms": 250,
        "mem_used_bytes": 1000,
        "load_1m": None,
        "net_rx_bytes": 5,
        "gateway_pid": 4,
    }
    service.sampler.totals["net_rx_bytes"] = 70
    found = scrape(service.readings)
    assert found["openclaw_trace_host_cpu_ratio", ()] == 0.125
    assert found["openclaw_trace_host_dns_seconds", ()] == 0.25
    assert found["openclaw_trace_host_mem_used_bytes", ()] == 1000
    assert found["openclaw_trace_host_net_rx_bytes_total", ()] == 70
    assert found["openclaw_trace_host_info", (("cpu_scope", "host"),)] == 1
    assert not [name for name, _ in found if "load_1m" in name or "pid" in name]


def test_columns_of_an_interval_are_those_that_say_so():
    said = {f.name for f in SystemMetric.wire_fields() if "in the interval" in f.help_text}
    assert said == set(SystemMetric.in_interval)


def test_calls_have_the_names_of_the_convention(service, decoders):
    call = {"provider": "anthropic", "model": "claude-sonnet-4-5", "cost_usd": 0.5}
    note_calls(
        service,
        decoders,
        call | {"prompt_tokens": 100, "completion_tokens": 7, "latency_ms": 1500},
        call | {"prompt_tokens": 300, "status": "timeout", "latency_ms": 90_000},
    )
    found = scrape(service.readings)
    labels = (
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_provider_name", "anthropic"),
        ("gen_ai_request_model", "claude-sonnet-4-5"),
    )
    tokens = (*labels, ("gen_ai_token_type", "input"))
    assert found["gen_ai_client_token_usage_sum", tokens] == 400
    assert found["gen_ai_client_token_usage_count", tokens] == 2
    below = tuple(sorted((*tokens, ("le", "256"))))
    assert found["gen_ai_client_token_usage_bucket", below] == 1
    durations = "gen_ai_client_operation_duration_seconds"
    assert found[f"{durations}_sum", (("error_type", ""), *labels)] == 1.5
    assert found[f"{durations}_sum", (("error_type", "timeout"), *labels)] == 90
    assert found["openclaw_trace_llm_cost_usd_total", labels] == 1
    assert found["openclaw_trace_llm_calls_total", (*labels, ("status", "timeout"))] == 1


def test_our_own_process_and_its_quality(service):
    service.quality.note(Finding.UNKNOWN_MODEL, "m")
    other = (("finding", Finding.COST_MISMATCH),)
    found = scrape(service.readings)
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["process_cpu_seconds_total", ()] > 0
    assert found["openclaw_trace_quality_findings_total", (("finding", "unknown_model"),)] == 1
    assert found["openclaw_trace_quality_findings_total", other] == 0


def test_openmetrics_for_those_who_ask(service, decoders):
    note_calls(service, decoders, {"provider": "p", "model": "m", "prompt_tokens": 5})
    service.sampler.latest = {"cpu_percent": 1.0, "net_rx_bytes": 1}
    plain, newer = scrape(service.readings), scrape(service.readings, OPENMETRICS)
    assert {name for name, _ in plain} == {name for name, _ in newer}


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        min_size=1,
        max_size=MAX_GROUPS,
    )
)
def test_any_name_of_a_model_is_one_label(names):
    counts = CallCounts()
    for name in names:
        counts._group("chat", "p", name)

    families = list(call_metrics.families(counts.groups()))
    seen = {s.labels["gen_ai_request_model"] for family in families for s in family.samples}
    assert seen == set(names)


def test_the_dashboard_asks_for_what_there_is(service, decoders):
    note_calls(
        service, decoders, {"provider": "p", "model": "m", "prompt_tokens": 5, "latency_ms": 1}
    )
    columns = {f.name: 1 for f in SystemMetric.wire_fields() if f.name != "metadata"}
    service.sampler.latest = columns
    there = {name for name, _ in scrape(service.readings)} | {
        "openclaw_trace_worker_alive",  # there once threads run
        "openclaw_trace_worker_failures_total",
        "openclaw_trace_worker_passes_total",
    }
    dashboard = json.loads((PROJECT / "config/grafana-dashboard.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    asked = set(re.findall(r"\b[a-z_]+(?={)", " ".join(queries)))
    assert len(asked) > 20
    assert asked <= there
