import pytest

CALL = b'{"provider":"p","model":"m"}'
JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer k3y"}


def status(api, headers=None, remote="127.0.0.1", host="localhost", path="/v1/traces"):
    method, body = ("GET", b"") if path == "/health" else ("POST", CALL)
    return api.request(method, path, body, JSON | (headers or {}), remote, host).status_code


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9090", "127.0.0.1:80", "[::1]:9090", "[::1]"]
)
def test_loopback_by_a_loopback_name_is_trusted(api, remote, host):
    assert status(api, {"Host": host}, remote) == 202


def test_allowed_hosts_are_loopback_names_too(api):
    assert status(api, {"Host": "Agent.Internal:9090"}) == 202


@pytest.mark.parametrize("host", ["rebind.example", "localhost.evil.example", "10.0.0.1:9090", ""])
def test_a_foreign_host_name_on_loopback_is_403(api, host):
    """A name rebound to 127.0.0.1 arrives from loopback, without Sec-Fetch-Site."""
    assert status(api, {"Host": host}) == 403
    assert api.ledger.counts()["rejected"] == {"forbidden": 1}
    assert len(api.intake) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9090"} | TOKEN,
    ],
)
def test_a_web_page_is_403_wherever_it_runs(api, headers):
    assert status(api, headers) == 403
    assert status(api, headers, path="/health") == 403


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_what_no_foreign_page_can_send_is_let_in(api, site):
    assert status(api, {"Sec-Fetch-Site": site}) == 202
    assert status(api, {"Sec-Fetch-Mode": "cors"}) == 202


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "Via"])
def test_what_came_through_a_proxy_is_not_local(api, header):
    assert status(api, {header: "for=127.0.0.1"}) == 401
    assert status(api, {header: "for=127.0.0.1"} | TOKEN) == 202


@pytest.mark.parametrize(
    "authorization", ["", "Bearer wrong", "Basic k3y", "Bearer", "k3y", "Bearer k3y2"]
)
def test_others_need_the_token(api, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    answer = api.request("POST", "/v1/traces", CALL, JSON | headers, "10.0.0.5", "sidecar:9090")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["accepted"] == 0
    assert api.ledger.counts()["rejected"] == {"unauthorized": 1}
    assert status(api, {"Authorization": "bearer k3y"}, "10.0.0.5", "sidecar:9090") == 202


def test_strangers_get_status_and_uptime_only(api):
    stranger = api.request("GET", "/health", remote="10.0.0.5", host="x")
    assert stranger.json == {"status": "ok", "uptime_seconds": 1.0}
    assert api.request("GET", "/health", headers=TOKEN, remote="10.0.0.5").json == api.status
    assert api.request("GET", "/health").json == api.status


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/traces", "/v1/stats/cost"])
def test_strangers_read_nothing_else(api, path):
    assert api.request("GET", path, remote="10.0.0.5", host="x").status_code == 401
    assert api.request("GET", path, headers={"Via": "1.1 x"}).status_code == 401
    let_in = api.request("GET", path, headers=TOKEN, remote="10.0.0.5", host="x")
    assert let_in.status_code in (200, 503)  # there is no database here
