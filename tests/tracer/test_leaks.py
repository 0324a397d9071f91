"""Hundreds of passes on the real machine leave nothing open and nothing running."""

import os
import threading

from tracer import collectors
from tracer.collectors.runner import Runner


def test_passes_leave_no_thread_and_no_descriptor_behind(tmp_path):
    """`make bench` does the same 2,000 times."""
    parts = collectors.build(folder=tmp_path, mode="auto", watch="auto", dns_probes=("localhost",))
    runner = Runner(parts)
    runner.run()
    before = len(os.listdir("/proc/self/fd")), {t for t in threading.enumerate() if t.name != "dns"}
    for _ in range(200):
        assert runner.run().skipped == []
    after = len(os.listdir("/proc/self/fd")), {t for t in threading.enumerate() if t.name != "dns"}
    assert after[0] == before[0]
    assert {t for t in after[1] if t.is_alive()} <= before[1] | {
        t for t in after[1] if t.name == "collect"
    }
    assert len([t for t in after[1] if t.name == "collect"]) <= 1
