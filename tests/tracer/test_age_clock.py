from hypothesis import given
from hypothesis import strategies as st

from tracer import age_clock
from tracer.age_clock import TOLERANCE_MS, advance

DAY = 86_400_000
KEPT = 7 * DAY
START = 1_800_000_000_000

PASSED = st.integers(0, 3 * DAY)
JUMPS = st.just(0) | st.integers(-4000 * DAY, 4000 * DAY) | st.integers(-3 * DAY, 3 * DAY)


@given(st.lists(st.tuples(PASSED, JUMPS, st.booleans()), max_size=40))
def test_no_row_is_old_before_its_time_has_passed_whatever_the_clock_did(steps):
    """One row arrives at each reading; a step is time that passes, a jump, and perhaps a reboot."""
    wall, uptime, boot, passed = START, 1000, 0, 0
    state = advance(None, wall_at=wall, uptime_ms=uptime, boot_id="0", retention_ms=KEPT)
    rows = [(wall, passed)]
    for ms, jump, is_reboot in steps:
        wall = max(0, wall + ms + jump)
        if is_reboot:
            boot, uptime = boot + 1, 0
        else:
            uptime, passed = uptime + ms, passed + ms
        state = advance(state, wall_at=wall, uptime_ms=uptime, boot_id=str(boot), retention_ms=KEPT)
        rows.append((wall, passed))
        for received_at, then in rows:
            if received_at < state.age_at - KEPT:
                assert passed - then >= KEPT - TOLERANCE_MS * len(rows)


@given(st.lists(PASSED, max_size=40))
def test_a_clock_that_is_right_is_followed(steps):
    wall, uptime = START, 1000
    state = advance(None, wall_at=wall, uptime_ms=uptime, boot_id="0", retention_ms=KEPT)
    for ms in steps:
        wall, uptime = wall + ms, uptime + ms
        state = advance(state, wall_at=wall, uptime_ms=uptime, boot_id="0", retention_ms=KEPT)
        assert (state.age_at, state.held_ms) == (wall, 0)


def test_a_leap_is_made_up_for_after_the_time_rows_are_kept():
    state = advance(None, wall_at=START, uptime_ms=0, boot_id="0", retention_ms=KEPT)
    wall = START + 100 * DAY
    state = advance(state, wall_at=wall, uptime_ms=0, boot_id="0", retention_ms=KEPT)
    assert state.age_at == START
    state = advance(
        state, wall_at=wall + KEPT - 1, uptime_ms=KEPT - 1, boot_id="0", retention_ms=KEPT
    )
    assert state.age_at == START + KEPT - 1
    state = advance(state, wall_at=wall + KEPT, uptime_ms=KEPT, boot_id="0", retention_ms=KEPT)
    assert state.age_at == wall + KEPT


def test_the_uptime_is_read_from_the_kernel(tmp_path):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("3bb7248d\n")
    (tmp_path / "uptime").write_text("11970.24 18264.89\n")
    assert age_clock.read_uptime(tmp_path) == ("3bb7248d", 11_970_240)
    boot_id, uptime_ms = age_clock.read_uptime()
    assert boot_id
    assert uptime_ms > 0
