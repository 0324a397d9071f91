import tracemalloc

import pytest

from tracer.heap import Heap, NotTracing


@pytest.fixture
def heap():
    made = Heap()
    yield made
    made.stop()


def test_nothing_runs_until_it_is_asked_for(heap):
    with pytest.raises(NotTracing, match="action=start"):
        heap.snapshot()
    assert not tracemalloc.is_tracing()
    assert list(heap.warnings()) == []
    assert not heap.stop()


def test_what_is_allocated_while_tracing_is_found(heap):
    assert heap.start(2)
    assert not heap.start(2)
    kept = [bytes(1000) for _ in range(1000)]
    profile, sums = heap.snapshot()
    top = profile.samples[0]
    assert top.values[1] >= len(kept) * 1000
    assert top.stack[0].file == __file__
    assert len(top.stack) == 2
    assert sums["traced_bytes"] >= len(kept) * 1000
    assert sums["own_cost_bytes"] > 0
    assert "being traced" in next(heap.warnings())


def test_a_stop_ends_the_cost(heap):
    heap.start(1)
    assert heap.stop()
    assert not tracemalloc.is_tracing()
    assert list(heap.warnings()) == []
