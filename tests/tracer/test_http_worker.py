import contextlib
import socket

import pytest

from tests.support import wait_until
from tracer.http_worker import _has_unread, _has_unsent


@pytest.fixture
def pair():
    """Two ends of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


def test_a_peer_that_does_not_take_its_answer_is_told_from_one_that_waits_for_it(pair):
    """The first blocks a thread, the second is what a profile of a minute looks like."""
    near, far = pair
    assert not _has_unsent(near)
    near.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # until its buffers are full
        while True:
            near.send(bytes(1 << 20))
    assert _has_unsent(near)
    wait_until(lambda: _has_unread(far))

    def is_drained():
        far.recv(1 << 20)
        return not _has_unsent(near)

    wait_until(is_drained)
