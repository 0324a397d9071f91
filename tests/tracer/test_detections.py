import pytest

from tests.support.host import process
from tracer.collectors.process_table import ProcessTable, parse_stat
from tracer.detections import Alarm, Detections
from tracer.watch import Watch


@pytest.fixture
def look(tmp_path):
    """Category of each report of a pass."""
    detections = Detections(tmp_path, 80.0, Watch())

    def look(values=None, **facts):
        return [report.category for report in detections.look(values or {}, facts)]

    look.detections = detections
    return look


def disk(percent):
    return {"disk_percent": percent, "disk_free_bytes": 5}


def test_an_alarm_is_raised_once_and_again_only_after_a_calm():
    alarm = Alarm(calm=2)
    looks = [True, True, None, True, False, True, False, False, True, True]
    assert [alarm.look(is_wrong) for is_wrong in looks] == [
        True, False, False, False, False, False, False, False, True, False,
    ]  # fmt: skip


def test_a_volume_over_its_threshold_is_reported_once_for_each_change(look):
    steps = [79.9, 80.0, 85.0, 79.9, 80.1, 78.5, 80.0, 78.0, 50.0, 80.0, 81.0]
    reports = [look(disk(percent)) for percent in steps]
    assert [bool(report) for report in reports] == [
        False, True, False, False, False, False, False, False, False, True, False,
    ]  # fmt: skip
    assert reports[1] == ["disk_full"]
    assert look({}) == []


def test_names_that_do_not_resolve_are_reported_once(look):
    failed = {"api.example.com": "not known"}
    assert look(dns_failed={}) == []
    assert look(dns_failed=failed) == ["dns"]
    assert look() == []
    for _ in range(10):  # one that comes and goes is no news
        assert look(dns_failed=failed) == []
        assert look(dns_failed={}) == []
        assert look(dns_failed={}) == []
    assert look(dns_failed={}) == []
    assert look(dns_failed=failed) == ["dns"]


def test_a_route_that_is_lost_is_reported_and_one_that_never_was_is_not(look):
    assert look(has_route=False) == []
    assert look(has_route=None) == []
    assert look(has_route=True) == []
    assert look(has_route=False) == ["network"]
    assert look(has_route=False) == []


def test_kills_for_lack_of_memory_name_the_likely_victim(look):
    victim = parse_stat(process(50, rss=1000, name="node").encode())
    (report,) = look.detections.look(
        {"oom_kills": 1, "mem_scope": "cgroup_v2"}, {"vanished": victim}
    )
    assert (report.error_type, report.category) == ("crash", "oom_kill")
    assert report.metadata["kills"] == 1
    assert report.metadata["largest_process_gone"]["pid"] == 50
    assert "node (50)" in report.message
    assert look({"oom_kills": 0}) == []
    assert look({"oom_kills": None}) == []
    assert look({"oom_kills": 3}) == ["oom_kill"]


def test_without_a_process_table_the_gateway_is_not_taken_for_gone(look):
    text = process(50)
    alive = parse_stat(text.encode())
    from tracer.collectors.gateway import Found

    assert look(table=ProcessTable({50: alive}, 0), gateway=Found(alive)) == []
    assert look() == []
    assert look(table=ProcessTable({50: alive}, 0), gateway=Found(alive)) == []
    assert look(table=ProcessTable({}, 0), gateway=None, host_oom_kills=2) == ["process_crash"]
