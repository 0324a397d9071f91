import threading
import time

from tracer import handover


def test_all_items_come_through_with_pauses(monkeypatch):
    pauses = []
    monkeypatch.setattr(handover, "pause", lambda: pauses.append(1))
    assert list(handover.pausing(range(100))) == list(range(100))
    assert len(pauses) == 100 // handover.EVERY


def test_a_waiting_thread_gets_its_turn():
    turns, done = [], threading.Event()

    def count():
        while not done.wait(0.0001):
            turns.append(time.monotonic())

    other = threading.Thread(target=count)
    other.start()
    for _ in handover.pausing(range(handover.EVERY * 200)):
        pass
    done.set()
    other.join()
    assert len(turns) > 20
