import socket
import time

import pytest

from tests.support.gunicorn import free_port
from tests.support.remote import hang, redirect, trickle
from tracer.remote import Outcome, Remote

BODY = b'{"events":[]}'


def send(remote, timeout_s=5, **options):
    client = Remote(f"{remote.url}?token=s3cret", **options)
    try:
        return client.send(BODY, "batch-1", timeout_s)
    finally:
        client.close()


def test_a_2xx_confirms_and_carries_key_and_batch_id(remote):
    assert send(remote, api_key="k3y") == (Outcome.CONFIRMED, 200, None)
    (headers,) = remote.headers
    assert headers["Authorization"] == "Bearer k3y"
    assert headers["Idempotency-Key"] == "batch-1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["path"] == "/ingest?token=s3cret"


def test_the_key_wins_over_a_user_in_the_url(remote):
    url = remote.url.replace("http://", "http://user:pass@")
    client = Remote(url, api_key="k3y")
    assert client.send(BODY, "batch-1", 5).outcome is Outcome.CONFIRMED
    client.close()
    assert remote.headers[0]["Authorization"] == "Bearer k3y"


def test_gzip_is_announced_and_readable(remote):
    assert send(remote, gzip_bodies=True).outcome is Outcome.CONFIRMED
    assert remote.headers[0]["Content-Encoding"] == "gzip"
    assert remote.batches == [{"events": []}]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503])
def test_other_answers_keep_the_rows(remote, status):
    remote.answer = status
    answer = send(remote)
    assert answer[:2] == (Outcome.KEPT, status)
    assert str(status) in answer.error


def test_a_redirect_is_not_followed(remote):
    """A POST would become a GET, and its 200 would count as delivered."""
    remote.answer = redirect
    assert send(remote)[:2] == (Outcome.KEPT, 302)
    assert [headers["path"] for headers in remote.headers] == ["/ingest?token=s3cret"]


def test_netrc_and_proxies_of_the_environment_are_not_used(remote, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password loot\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert send(remote, api_key="k3y").outcome is Outcome.CONFIRMED
    assert remote.headers[0]["Authorization"] == "Bearer k3y"


@pytest.mark.parametrize("answer", [hang, trickle])
def test_the_deadline_holds_whatever_the_remote_does(remote, answer):
    """No time-out of the library bounds an answer that trickles."""
    remote.answer = answer
    started = time.monotonic()
    kept = send(remote, timeout_s=0.5)
    assert time.monotonic() - started < 1.5
    assert kept.outcome is Outcome.KEPT


def test_while_a_request_hangs_no_other_is_begun(remote):
    remote.answer = trickle  # each byte starts the library's time-out anew
    client = Remote(remote.url)
    client.send(BODY, "batch-1", 0.5)
    assert "still hangs" in client.send(BODY, "batch-1", 5).error
    assert len(remote.headers) == 1


def test_errors_are_described_without_the_url_and_its_secret():
    client = Remote(f"http://127.0.0.1:{free_port()}/?token=s3cret")
    answer = client.send(BODY, "batch-1", 5)
    assert answer.outcome is Outcome.KEPT
    assert answer.error == "ConnectionRefusedError: Connection refused"
    unknown = Remote("http://no-such-host.invalid/?token=s3cret").send(BODY, "b", 5)
    assert "s3cret" not in unknown.error


def test_a_connection_cut_before_the_answer_keeps_the_rows():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Remote(f"http://127.0.0.1:{server.getsockname()[1]}/")
        server.settimeout(0.01)

        def cut():
            connection, _ = server.accept()
            connection.close()

        import threading

        server.settimeout(5)
        thread = threading.Thread(target=cut)
        thread.start()
        answer = client.send(BODY, "batch-1", 5)
        thread.join()
        client.close()
    assert answer.outcome is Outcome.KEPT
