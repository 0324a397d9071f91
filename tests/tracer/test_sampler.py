import json
import threading

import psutil
import pytest

from tests.support import wait_until
from tests.tracer.test_reporter import Desk
from tracer import collectors
from tracer.collectors.base import Reading
from tracer.collectors.process_table import ProcessTable
from tracer.collectors.runner import Runner
from tracer.detections import Detections
from tracer.events import ErrorEvent, ProcessMetric, SystemMetric
from tracer.sampler import Moment, Sampler
from tracer.watch import Watch


class Fixed:
    """A collector that answers what it is told."""

    def __init__(self, values=None, **facts):
        self.reading = Reading(values or {}, facts)

    def collect(self):
        return self.reading


class Bench:
    """A sampler on collectors of the test, and clocks moved by hand."""

    def __init__(self, decoders, folder, **parts):
        self.desk = Desk(decoders)
        self.at = Moment(1_000_000, 2_000_000, 1_795_000_000_000)
        self.is_ready = True
        watch = Watch()
        self.watch = watch
        self.runner = Runner(parts, budget_s=0.2)
        self.sampler = Sampler(
            self.runner,
            Detections(folder, 80.0, watch),
            watch,
            self.desk.reporter,
            interval_s=15,
            is_ready=lambda: self.is_ready,
            moment=lambda: self.at,
        )

    def step(self, monotonic_ms=15_000, suspended_ms=0, jump_ms=0):
        slept = monotonic_ms + suspended_ms
        mono, boot, wall = self.at
        self.at = Moment(mono + monotonic_ms, boot + slept, wall + slept + jump_ms)
        self.sampler.run_once()

    def rows(self, kind=SystemMetric):
        return [row for found, row in self.desk.rows() if found is kind]

    def marks(self):
        return json.loads(self.rows()[-1].get("metadata", "{}"))


@pytest.fixture
def bench(decoders, tmp_path):
    def make(**parts):
        return Bench(decoders, tmp_path, **parts)

    return make


def test_the_first_pass_gives_no_row_and_each_further_one_gives_one(bench):
    b = bench(cpu=Fixed({"cpu_percent": 12.5, "cpu_scope": "host"}), more=Fixed({"load_1m": None}))
    b.step()
    assert b.rows() == []
    b.step(14_990)
    b.step()
    first, second = b.rows()
    assert first["cpu_percent"] == 12.5
    assert first["interval_ms"] == 14_990
    assert second["created_at"] - first["created_at"] == 15_000
    assert "load_1m" not in first
    assert "metadata" not in first
    assert b.desk.counts() == (2, 2, {})


def test_the_rows_of_processes_carry_the_time_of_the_pass(bench):
    rows = [{"pid": 5, "name": "node", "is_gateway": 1}, {"pid": 6, "state": "Z"}]
    b = bench(processes=Fixed({"processes": 9}, rows=rows))
    b.step()
    b.step()
    system, *processes = b.rows() + b.rows(ProcessMetric)
    assert [row["pid"] for row in processes] == [5, 6]
    assert {row["created_at"] for row in processes} == {system["created_at"]}


@pytest.mark.parametrize(
    ("step", "marks"),
    [
        ({}, {}),
        ({"suspended_ms": 60_000}, {"suspended_ms": 60_000}),
        ({"jump_ms": 3_600_000}, {"clock_jump_ms": 3_600_000}),
        ({"jump_ms": -7_200_000}, {"clock_jump_ms": -7_200_000}),
        ({"jump_ms": 300}, {}),
        ({"monotonic_ms": 46_000}, {"late": True}),
        ({"monotonic_ms": 44_000}, {}),
    ],
)
def test_clock_jumps_suspends_and_stand_stills_are_marked(bench, step, marks):
    b = bench(cpu=Fixed({"cpu_percent": 1}))
    b.step()
    b.step(**step)
    assert b.marks() == marks
    assert b.rows()[-1]["interval_ms"] == step.get("monotonic_ms", 15_000)


def test_a_hung_collector_costs_its_columns_and_shows_in_the_row_and_in_health(bench):
    go_on = threading.Event()
    hung = Fixed({"disk_percent": 5})
    hung.collect = lambda: go_on.wait(20)
    b = bench(disk=hung, cpu=Fixed({"cpu_percent": 1}))
    b.step()
    b.step()
    go_on.set()
    (row,) = b.rows()
    assert row["cpu_percent"] == 1
    assert "disk_percent" not in row
    assert b.marks() == {"skipped": ["disk"]}
    assert list(b.sampler.warnings()) == ["metrics: disk cannot be read (2 passes so far)"]
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "collect"])


def test_hidden_processes_and_restarts_of_the_gateway_are_noted(bench):
    b = bench(processes=Fixed({}, table=ProcessTable({}, 3)))
    b.step()
    b.watch.restarts = 2
    b.step()
    assert b.marks() == {"unread_processes": 3, "gateway_restarts": 2}
    b.step()
    assert b.marks() == {"unread_processes": 3}


def test_what_is_detected_is_reported_at_the_first_pass_already(bench):
    disk = Fixed({"disk_percent": 99.0, "disk_free_bytes": 1})
    b = bench(disk=disk, dns=Fixed(dns_failed={"api.example.com": "not known"}))
    for _ in range(3):
        b.step()
    assert [report["category"] for report in b.rows(ErrorEvent)] == ["disk_full", "dns"]


def test_a_report_that_could_not_be_stored_is_made_later(bench):
    b = bench(disk=Fixed({"disk_percent": 99.0, "disk_free_bytes": 1}))
    b.desk.intake.refuse("the disk is full")
    b.step()
    b.step()
    assert b.rows(ErrorEvent) == []
    b.desk.intake.admit()
    b.step()
    assert len(b.rows(ErrorEvent)) == 1
    assert b.desk.counts() == (5, 2, {"unavailable": 3})


def test_one_that_waits_for_the_database_does_not_sample(bench):
    b = bench(cpu=Fixed({"cpu_percent": 1}))
    b.is_ready = False
    b.step()
    b.step()
    assert b.sampler.passes == 0
    b.is_ready = True
    b.step()
    assert b.rows() == []
    b.step()
    assert len(b.rows()) == 1


def test_after_a_stop_nothing_is_offered(bench):
    b = bench(cpu=Fixed({"cpu_percent": 1}))
    b.step()
    b.sampler.wake()
    b.step()
    assert b.rows() == []
    assert b.desk.counts() == (0, 0, {})


def test_every_column_of_the_table_is_known_on_this_machine(decoders, tmp_path):
    """All of them, but those which only a quota, a gateway or an empty /proc decides."""
    parts = collectors.build(folder=tmp_path, mode="auto", watch="auto", dns_probes=("localhost",))
    b = Bench(decoders, tmp_path, **parts)
    b.runner._budget_s = 10
    b.step()
    wait_until(lambda: parts["dns"]._round.is_done)
    b.step()
    (row,) = b.rows()
    own = set(SystemMetric.stored_columns()) - {"otel_trace_id", "span_id", "metadata"}
    optional = {"cpu_throttled_percent", "gateway_pid", "gateway_cpu_percent", "gateway_rss_bytes"}
    optional |= {name for name in own if name.startswith(("psi_", "disk_read", "disk_write"))}
    assert own - row.keys() <= optional
    assert row["mem_total_bytes"] <= psutil.virtual_memory().total
    assert row["disk_total_bytes"] == psutil.disk_usage(str(tmp_path)).total
    assert b.desk.ledger.counts()["rejected"] == {}


def test_without_proc_psutil_says_what_it_can(decoders, tmp_path):
    parts = collectors.build(
        folder=tmp_path, mode="auto", watch="auto", dns_probes=(), root=tmp_path
    )
    b = Bench(decoders, tmp_path, **parts)
    b.runner._budget_s = 10
    b.step()
    wait_until(
        lambda: sum(psutil.cpu_times()[:4]) and not b.step() and "cpu_percent" in b.rows()[-1]
    )
    row = b.rows()[-1]
    assert row["cpu_scope"] == row["mem_scope"] == "host"
    assert row["mem_total_bytes"] == psutil.virtual_memory().total
    assert row["tracer_rss_bytes"] > 0
    assert b.desk.ledger.counts()["rejected"] == {}
