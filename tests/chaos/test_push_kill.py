"""The sidecar is killed again and again while it pushes to a remote that loses answers."""

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.support import wait_until
from tests.support.backlog import fill
from tests.support.faults import ONLY_LONG
from tests.support.gunicorn import Gunicorn, assert_balanced
from tests.support.remote import answering, reset

pytestmark = [pytest.mark.fault, ONLY_LONG]

KILLS = 50
ROWS = 20_000
SEED = 6


def unreliable(remote, chance):
    """Mostly stores and says so, and otherwise stores or not and does not say so."""

    def answer(handler, body):
        remote.pause(chance.uniform(0.02, 0.1))
        action = chance.choices(
            [
                200,
                remote.cut_after_storing,
                reset,
                remote.cut_in_head,
                503,
                answering(429, Retry_After="1"),
            ],
            weights=[75, 10, 5, 5, 4, 1],
        )[0]
        remote.do(action, handler, body)

    return answer


def marked(server):
    return {
        row["trace_id"] for row in server.rows("SELECT trace_id FROM llm_traces WHERE pushed_at")
    }


def test_kills_amid_a_push_with_lost_answers(tmp_path, remote, figure):
    expected = set(fill(tmp_path / "trace.db", calls=ROWS))
    chance = random.Random(SEED)
    remote.answer = unreliable(remote, chance)
    kills_amid_a_push = 0
    settings = {
        "TRACE_PUSH_ENDPOINT": remote.url,
        "TRACE_PUSH_INTERVAL": "100ms",
        "TRACE_PUSH_MAX_BYTES": "25KB",
    }
    with Gunicorn(tmp_path, **settings) as server:
        started = time.monotonic()
        for _ in range(KILLS):
            before = len(remote.headers)
            wait_until(lambda before=before: len(remote.headers) > before, 30)
            time.sleep(chance.uniform(0, 0.4))
            (worker,) = server.worker_pids
            os.kill(worker, signal.SIGKILL)
            # What is marked as pushed is there: a row that is not would be lost.
            assert marked(server) <= set(remote.events)
            kills_amid_a_push += len(remote.events) < ROWS
            wait_until(lambda worker=worker: server.worker_pids not in ([], [worker]), 30)
        wait_until(lambda: server.answers() and server.health()["unpushed"] == 0, 120)
        seconds = time.monotonic() - started
        assert marked(server) == expected
        assert_balanced(server.health()["events"])
        assert server.stop()[0] == 0
    assert set(remote.events) == expected
    assert kills_amid_a_push == KILLS
    # A row that came again came in the same batch, with the same id and the same neighbours.
    batches = {}
    for batch in remote.batches:
        rows = [event["data"]["trace_id"] for event in batch["events"]]
        assert batches.setdefault(batch["batch_id"], rows) == rows
    assert Counter(row for rows in batches.values() for row in rows) == Counter(expected)
    duplicates = sum(remote.seen.values()) - ROWS
    figure(
        kills=KILLS,
        rows=ROWS,
        requests=len(remote.headers),
        duplicates=duplicates,
        duplicates_percent=round(100 * duplicates / ROWS, 1),
        seconds=round(seconds),
    )
