import json

import pytest

from tests.support.host import Clock
from tracer.events import ErrorEvent, ProcessMetric, SystemMetric
from tracer.intake import Intake
from tracer.ledger import Ledger
from tracer.reporter import MAX_PER_HOUR, Report, Reporter

REPORT = Report("crash", "oom_kill", "the kernel killed", "critical", {"kills": 1})


class Desk:
    def __init__(self, decoders, capacity=100):
        self.ledger, self.clock = Ledger(), Clock()
        self.intake = Intake(self.ledger, capacity=capacity, max_bytes=10**7, batch_size=1000)
        self.intake.admit()
        self.reporter = Reporter(decoders, self.intake, self.ledger, self.clock)

    def rows(self):
        records = self.intake.take(not_before=0, timeout_s=0)
        return [
            (
                r.kind,
                {
                    n: v
                    for n, v in zip(r.kind.stored_columns(), r.row, strict=True)
                    if v is not None
                },
            )
            for r in records
        ]

    def counts(self):
        counts = self.ledger.counts()
        return counts["received"], counts["accepted"], counts["rejected"]


@pytest.fixture
def desk(decoders):
    return Desk(decoders)


def test_a_report_becomes_an_error_event_of_the_sidecar_and_counts(desk):
    assert desk.reporter.report(REPORT)
    ((kind, row),) = desk.rows()
    assert kind is ErrorEvent
    assert row["error_type"] == "crash"
    assert row["category"] == "oom_kill"
    assert row["severity"] == "critical"
    assert json.loads(row["metadata"]) == {"source": "sidecar", "kills": 1}
    assert desk.counts() == (1, 1, {})


def test_metrics_go_through_validation(desk):
    assert desk.reporter.offer(
        SystemMetric, [{"cpu_percent": 5.5, "disk_total_bytes": 2**50, "timestamp": 1795311697425}]
    )
    assert desk.reporter.offer(ProcessMetric, [{"pid": 1, "started_at": 1795311697425}, {"pid": 2}])
    (_, system), (_, first), (_, second) = desk.rows()
    assert system["disk_total_bytes"] == 2**50
    assert system["created_at"] == 1795311697425
    assert first["started_at"] == 1795311697425
    assert second["pid"] == 2
    assert desk.counts() == (3, 3, {})


def test_one_that_is_not_valid_is_counted_and_costs_only_itself(desk, caplog):
    assert desk.reporter.offer(ProcessMetric, [{"pid": -1}, {"pid": 2}, {"pid": "x"}])
    assert [row["pid"] for _, row in desk.rows()] == [2]
    assert desk.counts() == (3, 1, {"out_of_range": 1, "wrong_type": 1})
    assert "not valid" in caplog.text


def test_a_refusal_is_counted_and_can_be_tried_again(decoders):
    desk = Desk(decoders)
    desk.intake.refuse("no")
    assert not desk.reporter.report(REPORT)
    assert not desk.reporter.offer(SystemMetric, [{}])
    assert desk.counts() == (2, 0, {"unavailable": 2})
    desk.intake.admit()
    assert desk.reporter.report(REPORT)


def test_a_flood_is_counted_in_the_next_report_instead_of_repeated(desk):
    for _ in range(MAX_PER_HOUR + 30):
        assert desk.reporter.report(REPORT)
    assert desk.reporter.report(Report("system_error", "dns", "another category"))
    assert len(desk.rows()) == MAX_PER_HOUR + 1
    desk.clock.now += 3600
    assert desk.reporter.report(REPORT)
    metadata = json.loads(desk.rows()[-1][1]["metadata"])
    assert metadata["withheld"] == 30
    assert desk.reporter.report(REPORT)
    assert "withheld" not in json.loads(desk.rows()[-1][1]["metadata"])
