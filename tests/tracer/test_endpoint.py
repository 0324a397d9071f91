import pytest

from tracer.endpoint import key_objection, objection


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "127.9.9.9:8080", "[::1]:80",
        "10.1.2.3", "172.16.0.1", "192.168.1.9", "[fdaa:0:1::3]", "[::ffff:10.0.0.1]", "100.64.0.7",
        "collector", "otel-collector:4318", "my-app.internal", "my-app.flycast", "nas.local",
        "box.lan", "box.home.arpa", "api.ns.svc", "api.ns.svc.cluster.local", "user:pass@localhost",
    ],
)  # fmt: skip
def test_plain_http_is_for_this_machine_and_private_networks(host):
    assert objection(f"http://{host}/ingest?token=s3cret") is None


@pytest.mark.parametrize(
    "host",
    [
        "api.example.com", "8.8.8.8", "[2606:4700::1111]", "169.254.169.254", "[fe80::1]",
        "134744072", "0x08080808", "localhost.example.com", "internal.example.com", "172.32.0.1",
        "[::ffff:8.8.8.8]", "localhost@api.example.com", "100.128.0.1",
    ],
)  # fmt: skip
def test_all_else_needs_https(host):
    sentence = objection(f"http://{host}/ingest?token=s3cret")
    assert "use https://" in sentence
    assert "s3cret" not in sentence
    assert objection(f"https://{host}/ingest") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "https://example.com:99999/",
        "http://h:x/",
        "https://ex ample.com/",
        "https://a..com/",
        "https:///x",
        "https://" + "a" * 64 + ".com/",
    ],
)
def test_what_is_no_url_is_said_so(url):
    assert "not a URL" in objection(url)


@pytest.mark.parametrize("key", ["", "k3y", "a b", "clé"])
def test_a_key_that_a_header_can_carry_is_fine(key):
    assert key_objection(key) is None


@pytest.mark.parametrize("key", ["k\n3y", "k\r\nX: y", "k€y", "k\0y"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(key):
    assert key_objection(key) == (
        "TRACE_PUSH_API_KEY has characters that no header may have: nothing is pushed"
    )
