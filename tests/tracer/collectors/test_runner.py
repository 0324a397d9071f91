import threading
import time

from tests.support import wait_until
from tracer.collectors.base import Reading
from tracer.collectors.runner import Runner


class Part:
    """A collector whose column has its own name; `act` may fail or hang."""

    def __init__(self, name, act=lambda: None):
        self.name = name
        self.act = act
        self.calls = 0

    def collect(self):
        self.calls += 1
        self.act()
        return Reading({self.name: self.calls}, {f"{self.name} fact": 1})


def runner(*parts, budget_s=5.0):
    return Runner({part.name: part for part in parts}, budget_s)


def collecting():
    return [thread for thread in threading.enumerate() if thread.name == "collect"]


def test_all_columns_and_facts_come_together():
    result = runner(Part("a"), Part("b")).run()
    assert result.values == {"a": 1, "b": 1}
    assert result.facts == {"a fact": 1, "b fact": 1}
    assert result.skipped == []


def test_one_that_fails_costs_only_its_own_columns_and_is_logged_once(caplog):
    a, bad, c = Part("a"), Part("bad", lambda: 1 / 0), Part("c")
    parts = runner(a, bad, c)
    for _ in range(3):
        result = parts.run()
    assert result.values == {"a": 3, "c": 3}
    assert result.skipped == ["bad"]
    assert parts.skips == {"bad": 3}
    assert len(caplog.records) == 1
    bad.act = lambda: None
    assert parts.run().values == {"a": 4, "bad": 4, "c": 4}


def test_one_that_hangs_is_left_behind_skipped_and_counted_until_it_comes_back(caplog):
    go_on = threading.Event()
    hung, after = Part("hung", lambda: go_on.wait(20)), Part("after")
    parts = runner(Part("before"), hung, after, budget_s=0.2)
    assert parts.run().values == {"before": 1, "after": 1}
    started = time.monotonic()
    for _ in range(50):
        result = parts.run()
    assert time.monotonic() - started < 10
    assert result.skipped == ["hung"]
    assert hung.calls == 1
    assert after.calls == 51
    assert parts.skips == {"hung": 51}
    assert len(collecting()) == 1
    assert len(caplog.records) == 1
    go_on.set()
    wait_until(lambda: not collecting())
    assert parts.run().values == {"before": 52, "hung": 2, "after": 52}


def test_several_may_hang_each_with_its_own_thread():
    go_on = threading.Event()
    parts = runner(
        Part("x", lambda: go_on.wait(20)),
        Part("y", lambda: go_on.wait(20)),
        Part("z"),
        budget_s=0.1,
    )
    try:
        assert parts.run().values == {"z": 1}
        assert sorted(parts.run().skipped) == ["x", "y"]
        assert len(collecting()) == 2
    finally:
        go_on.set()
    wait_until(lambda: not collecting())


def test_a_stop_does_not_wait_for_one_that_hangs():
    go_on = threading.Event()
    parts = runner(Part("hung", lambda: go_on.wait(20)), budget_s=20)
    thread = threading.Thread(target=parts.run)
    thread.start()
    wait_until(collecting)
    parts.cancel()
    thread.join(5)
    assert not thread.is_alive()
    go_on.set()
    wait_until(lambda: not collecting())


def test_where_no_thread_can_be_had_the_pass_runs_all_the_same(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    result = runner(Part("a"), Part("bad", lambda: 1 / 0), Part("c")).run()
    assert result.values == {"a": 1, "c": 1}
    assert result.skipped == ["bad"]
