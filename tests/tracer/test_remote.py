"""One request to a remote that is as rude as it can be: bounded in time, memory and trust."""

import resource
import select
import socket
import socketserver
import ssl
import threading
import time
import warnings
from contextlib import contextmanager
from typing import ClassVar

import pytest

from tests.support import wait_until
from tests.support.gunicorn import free_port
from tests.support.remote import (
    Hasty,
    answering,
    bomb,
    chatter,
    flood,
    reply,
    reset,
    saying,
)
from tests.support.remote import (
    Remote as RudeRemote,
)
from tests.support.tls import Authority
from tracer.answer import Outcome
from tracer.encoders.batch import Batch
from tracer.remote import Remote

BATCH = Batch("batch-1", bytearray(b'{"events":[]}'), [], False)


@pytest.fixture
def connect():
    """Makes clients and closes them at the end."""
    made = []

    def connect_to(url, **options):
        made.append(Remote(url, **options))
        return made[-1]

    yield connect_to
    for client in made:
        client.close()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def send(remote, timeout_s=5, **options):
    client = Remote(f"{remote.url}?token=s3cret", **options)
    try:
        return client.send(BATCH, timeout_s)
    finally:
        client.close()


def test_a_2xx_confirms_and_carries_key_and_batch_id(remote):
    assert send(remote, api_key="k3y")[:3] == (Outcome.CONFIRMED, 200, None)
    (headers,) = remote.headers
    assert headers["Authorization"] == "Bearer k3y"
    assert headers["Idempotency-Key"] == "batch-1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["path"] == "/ingest?token=s3cret"


def test_the_key_wins_over_a_user_in_the_url(connect, remote):
    url = remote.url.replace("http://", "http://user:pass@")
    client = connect(url, api_key="k3y")
    assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED
    assert remote.headers[0]["Authorization"] == "Bearer k3y"


def test_gzip_is_announced_readable_and_the_same_each_time(remote):
    for _ in range(2):
        assert send(remote, gzip_bodies=True).outcome is Outcome.CONFIRMED
    assert remote.headers[0]["Content-Encoding"] == "gzip"
    assert remote.batches == [{"events": []}] * 2
    assert remote.bodies[0] == remote.bodies[1]


def test_requests_of_a_pass_share_a_connection(connect, remote):
    client = connect(remote.url)
    for _ in range(3):
        assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED
    assert remote.connections == 1


def test_a_connection_the_remote_closed_meanwhile_is_replaced(connect, remote):
    def close_after(handler, body):
        remote.do(200, handler, body)
        handler.close_connection = True

    remote.answer = close_after
    client = connect(remote.url)
    for _ in range(3):
        assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED
        time.sleep(0.05)
    assert remote.connections == 3


def test_a_batch_may_have_a_path_and_a_type_of_its_own(remote):
    batch = BATCH._replace(path="/v1/logs", content_type="application/x-protobuf")
    client = Remote(f"{remote.url}/?token=s3cret")
    assert client.send(batch, 5).outcome is Outcome.CONFIRMED
    client.close()
    assert remote.headers[0]["path"] == "/ingest/v1/logs?token=s3cret"
    assert remote.headers[0]["Content-Type"] == "application/x-protobuf"


# What comes back


def test_the_answer_is_judged_with_its_head_and_body(remote):
    remote.answer = answering(503, Retry_After="7")
    answer = send(remote)
    assert answer[:4] == (Outcome.KEPT, 503, "the remote answered 503", 7)
    remote.answer = answering(200, b'{"rejected":[{"trace_id":"a","reason":"r"}]}')
    assert send(remote).rejected == {"a": "rejected: r"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(remote, status):
    """A POST would become a GET, and its 200 would count as delivered."""
    remote.answer = answering(status, Location=f"{remote.url}/elsewhere")
    assert send(remote)[:2] == (Outcome.MISCONFIGURED, status)
    assert [headers["path"] for headers in remote.headers] == ["/ingest?token=s3cret"]


@pytest.mark.parametrize(
    "cut", ["reset", "cut_in_head", "cut_in_body", "chatter", "cut_after_storing"]
)
def test_an_answer_that_is_cut_or_no_http_confirms_nothing(remote, cut):
    remote.answer = {"reset": reset, "chatter": chatter}.get(cut) or getattr(remote, cut)
    answer = send(remote)
    assert answer[:2] == (Outcome.KEPT, None)
    assert "s3cret" not in answer.error


def test_an_answer_without_length_ends_with_the_connection(remote):
    """HTTP/1.0 as simple receivers speak it."""

    def answer(handler, body):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n{}")
        handler.close_connection = True

    remote.answer = answer
    assert send(remote).outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("rude", [flood, bomb])
def test_a_huge_answer_costs_no_memory(remote, rude):
    """Good statuses both, so the batch is confirmed; what they say beyond 64 KB is not read."""
    remote.answer = rude
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert send(remote).outcome is Outcome.CONFIRMED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_an_answer_to_a_body_that_was_not_read_is_heard_but_confirms_nothing(authority, is_tls):
    """A 413 before the end of the body is why it ended; a 200 cannot mean what was not read."""
    batch = BATCH._replace(body=bytes(20 * 2**20))
    for status, expected in ((413, Outcome.TOO_LARGE), (200, Outcome.KEPT)):
        with Hasty(status, authority.context() if is_tls else None) as remote:
            client = Remote(remote.url, ca_file=authority.ca_file)
            answer = client.send(batch, 5)
            client.close()
        assert answer.outcome is expected, answer
    assert answer.error.endswith("the remote answered 200 to a batch it had not read")


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_the_answer_is_the_one_after_the_interim_ones(remote, interim):
    head = b"HTTP/1.1 %s\r\nLink: </a>\r\n\r\n" % interim
    remote.answer = saying(head * 2 + b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
    assert send(remote)[:2] == (Outcome.KEPT, 503)
    remote.answer = saying(head)
    assert send(remote)[:2] == (Outcome.KEPT, None)


def test_the_head_of_an_answer_is_bounded(remote):
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 50_000) for n in range(2))
    remote.answer = saying(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")
    assert send(remote)[:3] == (Outcome.KEPT, None, "LineTooLong")


def test_cookies_are_neither_kept_nor_sent(connect, remote):
    """Each answer could add to them, and a request with too many is refused."""
    client = connect(remote.url)
    for n in range(3):
        remote.answer = answering(200, Set_Cookie=f"c{n}=" + "x" * 1000)
        client.send(BATCH, 5)
    assert ["Cookie" in headers for headers in remote.headers] == [False] * 3


@pytest.mark.parametrize("location", ["http://[::1", "/elsewhere", "ftp://x/"])
def test_where_a_redirect_leads_does_not_matter(remote, location):
    remote.answer = answering(302, Location=location)
    assert send(remote)[:2] == (Outcome.MISCONFIGURED, 302)


@pytest.mark.parametrize("rude", [flood, bomb])
def test_the_body_of_a_redirect_is_not_read_either(remote, rude, monkeypatch):
    send_response = remote.server.RequestHandlerClass.send_response

    def send_redirect(handler, _status):
        send_response(handler, 307)
        handler.send_header("Location", "/elsewhere")

    monkeypatch.setattr(remote.server.RequestHandlerClass, "send_response", send_redirect)
    remote.answer = rude
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert send(remote)[:2] == (Outcome.MISCONFIGURED, 307)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024


# How long it takes


def push_requests():
    return [thread for thread in threading.enumerate() if thread.name == "push-request"]


@pytest.mark.parametrize("rude", ["hang", "trickle_head", "trickle_body"])
def test_the_deadline_holds_and_the_thread_ends(connect, remote, rude):
    """No time-out of the library bounds an answer that trickles."""
    remote.answer = getattr(remote, rude)
    client = connect(remote.url)
    started = time.monotonic()
    answer = client.send(BATCH, 0.4)
    assert time.monotonic() - started < 1
    assert (answer.outcome, answer.error) == (Outcome.KEPT, "no complete answer within 0.4 s")
    wait_until(lambda: not push_requests(), 2)
    remote.answer = 200
    assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED


def test_a_request_can_be_ended_from_another_thread(remote, connect):
    """A stop does not wait for a time-out of half a minute."""
    remote.answer = remote.hang
    client = connect(remote.url)
    started = time.monotonic()
    threading.Timer(0.2, lambda: client.end_by(0.0)).start()
    answer = client.send(BATCH, 30)
    assert time.monotonic() - started < 1
    assert answer[:2] == (Outcome.KEPT, None)
    assert answer.error == "cut short by the stop, before a complete answer"
    wait_until(lambda: not push_requests(), 2)


def test_a_slow_remote_is_waited_for(remote):
    remote.answer = remote.slow(0.5)
    assert send(remote).outcome is Outcome.CONFIRMED


def test_a_peer_that_does_not_speak_tls_or_nothing_at_all_is_given_up_in_time(connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"https://127.0.0.1:{silent.getsockname()[1]}/")
        started = time.monotonic()
        assert client.send(BATCH, 0.4).outcome is Outcome.KEPT
        assert time.monotonic() - started < 1
        wait_until(lambda: not push_requests(), 2)


def test_a_body_nobody_reads_is_given_up_in_time(connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        started = time.monotonic()
        assert client.send(BATCH._replace(body=bytes(20 * 2**20)), 0.4).outcome is Outcome.KEPT
        assert time.monotonic() - started < 1
        wait_until(lambda: not push_requests(), 2)


def test_while_name_resolution_hangs_no_other_request_is_begun(connect, remote, monkeypatch):
    resolved = threading.Event()
    resolve = socket.getaddrinfo

    def hang(*arguments, **options):
        resolved.wait(10)
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = connect(remote.url)
    started = time.monotonic()
    assert client.send(BATCH, 0.3).outcome is Outcome.KEPT
    assert "still hangs" in client.send(BATCH, 5).error
    assert time.monotonic() - started < 1
    assert len(push_requests()) == 1
    resolved.set()
    wait_until(lambda: not push_requests(), 2)
    assert remote.headers == []  # the late one did not send anything
    assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED


# Whom it trusts


def test_netrc_and_proxies_of_the_environment_are_not_used(remote, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password loot\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert send(remote).outcome is Outcome.CONFIRMED
    assert send(remote, api_key="k3y").outcome is Outcome.CONFIRMED
    assert [h.get("Authorization") for h in remote.headers] == [None, "Bearer k3y"]


def test_a_proxy_that_is_set_is_used(connect, remote):
    """It is asked for the URL as a whole."""
    proxy = remote.url.removesuffix("/ingest")
    client = connect("http://collector.internal/ingest", proxy=proxy)
    assert client.send(BATCH, 5).outcome is Outcome.CONFIRMED
    assert remote.headers[0]["path"] == "http://collector.internal/ingest"


class Tunnel(socketserver.BaseRequestHandler):
    """A proxy that connects wherever it is asked to, here always to `port`."""

    port = 0
    asked: ClassVar[list[bytes]] = []

    def handle(self):
        self.asked.append(self.request.recv(4096).partition(b"\r\n")[0])
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.port)) as remote:
            sides = {self.request: remote, remote: self.request}
            while ready := select.select(list(sides), [], [], 5)[0]:
                for side in ready:
                    if not (piece := side.recv(65536)):
                        return
                    sides[side].sendall(piece)


@pytest.mark.parametrize("rude", [None, "trickle_body"])
def test_https_goes_through_a_proxy_as_a_tunnel_and_in_time(connect, authority, rude):
    with (
        RudeRemote(tls=authority.context()) as remote,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy,
    ):
        proxy.daemon_threads = True
        Tunnel.port = remote.port
        threading.Thread(target=proxy.serve_forever, args=(0.05,)).start()
        try:
            remote.answer = getattr(remote, rude) if rude else 200
            url = f"http://127.0.0.1:{proxy.server_address[1]}"
            client = connect(remote.url, proxy=url, ca_file=authority.ca_file)
            started = time.monotonic()
            answer = client.send(BATCH, 0.5 if rude else 5)
            assert answer.outcome is (Outcome.KEPT if rude else Outcome.CONFIRMED)
            assert time.monotonic() - started < 1 or not rude
            wait_until(lambda: not push_requests(), 2)
            client.close()
        finally:
            proxy.shutdown()
    assert Tunnel.asked[-1] == b"CONNECT 127.0.0.1:%d HTTP/1.0" % remote.port


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named(connect, remote, monkeypatch, scheme):
    handler = remote.server.RequestHandlerClass
    monkeypatch.setattr(handler, "do_CONNECT", lambda self: reply(self, 407), raising=False)
    remote.answer = 407
    proxy = remote.url.removesuffix("/ingest").replace("://", "://user:s3cret@")
    answer = connect(f"{scheme}://collector.internal/ingest", proxy=proxy).send(BATCH, 5)
    assert answer.error.endswith("answered 407: check TRACE_PUSH_PROXY")
    assert "s3cret" not in answer.error


def test_a_private_authority_is_trusted_when_set(authority):
    with RudeRemote(tls=authority.context()) as remote:
        assert send(remote, ca_file=authority.ca_file).outcome is Outcome.CONFIRMED
        assert send(remote)[:2] == (Outcome.KEPT, None)


def test_an_authority_that_cannot_be_read_is_named(remote, tmp_path):
    answer = send(remote, ca_file=str(tmp_path / "none.pem"))
    assert answer[:2] == (Outcome.MISCONFIGURED, None)
    assert answer.error == "TRACE_PUSH_CA_FILE cannot be read: No such file or directory"


@contextmanager
def expect_tls_error(words, context, **options):
    with RudeRemote(tls=context) as remote:
        answer = send(remote, **options)
        yield
    assert (answer.outcome, answer.http_status) == (Outcome.KEPT, None)
    assert words in answer.error
    assert "s3cret" not in answer.error
    assert remote.headers == []


@pytest.mark.parametrize(
    ("words", "name", "days"),
    [("Hostname mismatch", "example.com", 1), ("expired", "127.0.0.1", -1)],
)
def test_a_bad_certificate_is_refused(authority, words, name, days):
    words = "IP address mismatch" if name != "127.0.0.1" else words
    with expect_tls_error(words, authority.context(name, days=days), ca_file=authority.ca_file):
        pass


def test_a_certificate_of_an_unknown_authority_is_refused(authority):
    with expect_tls_error("certificate verify failed", authority.context()):
        pass


def test_old_tls_is_refused(authority):
    context = authority.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with expect_tls_error("SSL", context, ca_file=authority.ca_file):
        pass


def test_a_plain_port_is_no_tls(connect, remote):
    client = connect(remote.url.replace("http://", "https://"))
    answer = client.send(BATCH, 5)
    assert answer[:2] == (Outcome.KEPT, None)
    assert "SSL" in answer.error


@pytest.mark.parametrize("rude", ["trickle_head", "hang"])
def test_the_deadline_holds_over_tls_too(authority, rude):
    with RudeRemote(tls=authority.context()) as remote:
        remote.answer = getattr(remote, rude)
        started = time.monotonic()
        answer = send(remote, 0.4, ca_file=authority.ca_file)
        assert time.monotonic() - started < 1
        assert answer.outcome is Outcome.KEPT
        wait_until(lambda: not push_requests(), 2)


def test_plain_http_over_the_internet_is_not_even_tried():
    answer = Remote("http://example.com/?token=s3cret").send(BATCH, 5)
    assert answer.outcome is Outcome.MISCONFIGURED
    assert "use https://" in answer.error


def test_with_a_key_no_header_can_carry_nothing_is_even_tried(remote):
    answer = send(remote, api_key="k\n3y")
    assert answer.outcome is Outcome.MISCONFIGURED
    assert remote.headers == []


def test_errors_are_described_without_the_url_and_its_secret(connect):
    client = connect(f"http://127.0.0.1:{free_port()}/?token=s3cret")
    answer = client.send(BATCH, 5)
    assert answer.outcome is Outcome.KEPT
    assert answer.error == "ConnectionRefusedError: Connection refused"
    unknown = Remote("https://no-such-host.invalid/?token=s3cret").send(BATCH, 5)
    assert "s3cret" not in unknown.error
