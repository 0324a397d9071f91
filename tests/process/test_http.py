"""HTTP as it comes over a real socket."""

import socket

import pytest

from tests.support.gunicorn import Gunicorn, assert_balanced

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Gunicorn(tmp_path_factory.mktemp("http")) as running:
        yield running


def talk(server, request):
    """The status of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        return int(connection.recv(65536).split()[1])


def test_a_chunked_body_as_node_sends_it(server):
    assert talk(server, CHUNKED + b'5\r\n{"nam\r\n7\r\ne":"n"}\r\n0\r\n\r\n') == 202


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-5\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"\r\n\r\n",
        b'c\r\n{"name":"n"}\r\n0\r\nbad trailer\r\n\r\n',
    ],
)
def test_chunks_that_are_none_are_400_and_counted_once(server, chunks):
    before = server.health()["events"]
    assert talk(server, CHUNKED + chunks) == 400
    after = server.health()["events"]
    assert after["received"] == before["received"] + 1
    assert sum(after["rejected"].values()) == sum(before["rejected"].values()) + 1
    assert_balanced(after)


def test_what_a_malformed_request_holds_is_in_no_log_line(server):
    assert talk(server, b"GET /health HTTP/1.1\r\nAuthorization Bearer s3cret\r\n\r\n") == 400
    assert "s3cret" not in server.log_path.read_text()


def test_a_huge_announced_body_is_refused_before_it_comes(server):
    assert talk(server, HEAD + b"Content-Length: 10000000000\r\n\r\n{") == 413


def test_expect_continue_and_pipelined_requests(server):
    event = b'{"name":"n"}'
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: 12\r\n\r\n" + event
    assert talk(server, expecting) in (100, 202)
    assert talk(server, (HEAD + b"Content-Length: 12\r\n\r\n" + event) * 2) == 202


def test_a_host_name_that_is_not_ours_is_403(server):
    assert talk(server, b"GET /health HTTP/1.1\r\nHost: rebind.example\r\n\r\n") == 403
    assert talk(server, b"GET /health HTTP/1.1\r\n\r\n") == 403
