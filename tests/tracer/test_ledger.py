import threading

from tracer.ledger import Ledger, Loss, Rejection


def is_balanced(counts):
    settled = counts["stored"] + counts["duplicate"] + sum(counts["lost"].values())
    return (
        counts["received"] == counts["accepted"] + sum(counts["rejected"].values())
        and counts["accepted"] == settled + counts["queued"]
    )


def test_it_adds_up_at_any_instant_in_any_thread():
    ledger = Ledger()

    def work():
        for _ in range(2000):
            ledger.accept(3)
            ledger.reject(Rejection.NOT_JSON)
            ledger.settle(1, 1, 1, Loss.ROW_REFUSED)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert is_balanced(ledger.counts())
    for thread in threads:
        thread.join()
    assert ledger.counts() == {
        "received": 32000,
        "accepted": 24000,
        "rejected": {"not_json": 8000},
        "stored": 8000,
        "duplicate": 8000,
        "queued": 0,
        "lost": {"row_refused": 8000},
    }
