"""A slow and a failing disk: system calls of the live worker are delayed or fail."""

import pytest

from tests.support import wait_until
from tests.support.faults import (
    IS_LONG,
    amount,
    assert_kept,
    is_degraded,
    promised_more,
    seconds_until,
    strace,
)
from tests.support.gunicorn import Gunicorn
from tests.support.load import Load

pytestmark = pytest.mark.fault


def test_a_slow_disk_holds_up_no_answer(tmp_path, figure):
    """300 ms for each flush: batches grow, answers do not wait for them."""
    with Gunicorn(tmp_path) as server, Load(server.port, per_s=100) as load:
        promised_more(load)
        with strace(server.worker_pids[0], "fdatasync:delay_enter=300000"):
            promised_more(load, amount(150, 1500), 60)
        promised_more(load)
        assert_kept(server, load, figure)


FAILURES = {
    "no space": "pwrite64:error=ENOSPC",
    "every fourth flush fails": "fdatasync:error=EIO:when=3+4",
}
if IS_LONG:  # opening is tried again after 10 s only
    FAILURES |= {"flush fails": "fdatasync:error=EIO", "write fails": "pwrite64:error=EIO"}


@pytest.mark.parametrize("inject", FAILURES.values(), ids=FAILURES)
def test_a_failing_disk_loses_nothing_that_was_accepted(tmp_path, figure, inject):
    with Gunicorn(tmp_path) as server, Load(server.port, per_s=100) as load:
        promised_more(load)
        for _ in range(amount(1, 5)):
            with strace(server.worker_pids[0], inject):
                if "when" in inject:
                    promised_more(load, 100)
                else:
                    wait_until(lambda: is_degraded(server), 20)
                    wait_until(lambda so_far=load.refused: load.refused > so_far + 10, 20)
            heal_s = seconds_until(server.answers)
            promised_more(load)
        assert_kept(server, load, figure, heal_s=heal_s)
