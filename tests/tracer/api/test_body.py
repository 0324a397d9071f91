import gzip
import io
import threading

import falcon.testing
import pytest

from tests.support import wait_until
from tracer.api import body
from tracer.errors import EventError
from tracer.ledger import Rejection

LARGE = b"x" * (body.LARGE_BYTES + 1)


def request(content, encoding=None, length=True):
    headers = {"Content-Encoding": encoding} if encoding else {}
    environ = falcon.testing.create_environ(method="POST", headers=headers)
    environ["wsgi.input"] = io.BytesIO(content)
    if length:
        environ["CONTENT_LENGTH"] = str(len(content))
    return falcon.Request(environ)


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("content", [b"", b"x", LARGE])
def test_a_body_is_read_whole(content, length):
    with body.BodyReader(10**6).body(request(content, length=length)) as read:
        assert read == [content]
    with body.BodyReader(10**6).body(request(gzip.compress(content), "gzip", length)) as read:
        assert read == [content]


def test_large_bodies_are_in_work_one_at_a_time_and_few_wait():
    reader, inside, refused = body.BodyReader(10**6), [], []
    go_on = threading.Event()

    def work():
        try:
            with reader.body(request(LARGE)):
                inside.append(threading.get_ident())
                go_on.wait(5)
                inside.remove(threading.get_ident())
        except EventError as error:
            refused.append(error.reason)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) == 10 - 1 - body.MAX_LARGE)
    assert set(refused) == {Rejection.QUEUE_FULL}
    assert len(inside) == 1
    with reader.body(request(b"small")) as read:  # is not held up
        assert read == [b"small"]
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(refused) == 6
    with reader.body(request(gzip.compress(LARGE * 3), "gzip")) as read:  # the turn came back
        assert read == [LARGE * 3]


def test_waiting_for_a_turn_ends(monkeypatch):
    monkeypatch.setattr(body, "LARGE_WAIT_S", 0.01)
    reader = body.BodyReader(10**6)
    with (
        reader.body(request(LARGE)),
        pytest.raises(EventError, match="at once"),
        reader.body(request(LARGE)),
    ):
        pass
