import json

import pytest

from tracer.cli import host, sidecar
from tracer.events import ErrorEvent, SystemMetric
from tracer.store_file import InstanceLock


@pytest.fixture
def sampled(store, decoders):
    """Two restarts and a sample without a gateway between; the last sample is out of the window."""
    samples = [
        {"gateway_up": 1, "gateway_pid": 10, "mem_percent": 20.0, "gateway_rss_bytes": 5},
        {"gateway_up": 1, "gateway_pid": 10, "mem_percent": 80.5, "mem_used_bytes": 7},
        {"gateway_up": 0, "mem_percent": 10.0, "oom_kills": 2},
        {"gateway_up": 1, "gateway_pid": 11, "disk_percent": 60.0},
        {"gateway_up": 1, "gateway_pid": 12, "mem_percent": 30.0},
        {"gateway_up": 1, "gateway_pid": 13, "mem_percent": 99.0},
    ]
    at = 1_795_000_000_000
    decode = decoders[SystemMetric].decode
    store.insert(
        [
            decode(json.dumps(sample | {"timestamp": at + n * 1000}).encode(), at)
            for n, sample in enumerate(samples)
        ]
    )
    error = {"error_type": "crash", "message": "gone", "category": "process_crash", "timestamp": at}
    store.insert([decoders[ErrorEvent].decode(json.dumps(error).encode(), at)])
    return store.path, at, at + 5000


def test_peaks_with_their_moment(sampled):
    path, since, until = sampled
    found = host.peaks(path, since, until)
    assert (found["samples"], found["oom_kills"]) == (5, 2)
    mem = found["peaks"]["mem_percent"]
    assert (mem["peak"], mem["at"], mem["newest"]) == (80.5, since + 1000, 30.0)
    assert mem["used_bytes"] == 7
    assert found["peaks"]["disk_percent"]["peak"] == 60.0
    assert found["peaks"]["cpu_percent"]["peak"] is None


def test_restarts_crashes_and_uptime_of_the_gateway(sampled):
    path, since, until = sampled
    assert host.gateway(path, since, until) == {
        "restarts": 2,
        "last_restart_at": since + 4000,
        "crashes": {"process_crash": 1, "oom_kill": 0},
        "up_percent": 80.0,
    }
    assert host.gateway(path, 0, 1)["up_percent"] is None


def test_who_holds_the_lock(tmp_path):
    import os

    path = tmp_path / "trace.db"
    assert not sidecar.is_running(path)
    assert sidecar.lock_holder(path) is None
    lock = InstanceLock(path)
    lock.acquire()
    try:
        assert sidecar.is_running(path)
        assert sidecar.lock_holder(path) == os.getpid()
    finally:
        lock.close()
    assert not sidecar.is_running(path)
    assert sidecar.lock_holder(path) is None
