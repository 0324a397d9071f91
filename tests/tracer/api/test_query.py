import pytest

from tests.support.rows import insert
from tracer.events import KINDS
from tracer.store import Store
from tracer.timestamps import now_ms

STATISTICS = ("cost", "latency", "errors")


@pytest.fixture
def path(api, store):
    """The database that `api` reads: both fixtures have the same folder."""
    return store.path


def get(api, path, **options):
    return api.request("GET", path, **options)


def test_each_kind_is_listed_a_page_at_a_time(api, path):
    for kind in KINDS:
        insert(path, kind._meta.table_name, [{"created_at": at} for at in (1, 2, 3)])
        first = get(api, f"{kind.list_route}?limit=2")
        assert first.status_code == 200
        assert first.headers["content-type"] == "application/json"
        assert [item["created_at"] for item in first.json["items"]] == [3, 2]
        rest = get(api, f"{kind.list_route}?limit=2&cursor={first.json['next_cursor']}")
        assert [item["created_at"] for item in rest.json["items"]] == [1]
        assert rest.json["next_cursor"] is None


def test_filters_and_bounds(api, path):
    now = now_ms()
    rows = [
        {"status": s, "created_at": now - a}
        for s, a in (("success", 0), ("error", 9e7), ("error", 1))
    ]
    insert(path, "llm_traces", rows)
    assert len(get(api, "/v1/traces?status=error").json["items"]) == 2
    assert len(get(api, "/v1/traces?status=ok").json["items"]) == 1
    assert len(get(api, "/v1/traces?status=Error&since=1d&model=m").json["items"]) == 1
    assert len(get(api, "/v1/traces?until=1d").json["items"]) == 1
    assert get(api, "/v1/traces?model=none").json == {"items": [], "next_cursor": None}


def test_times_are_read_as_in_timestamp_also_with_a_plus(api, path):
    insert(path, "custom_events", [{"created_at": 1_700_000_000_000}])
    for since in (
        "1700000000",
        "1700000000000",
        "2023-11-14T22:13:20Z",
        "2023-11-14T23:13:20+01:00",
        "2023-11-14T23:13:20%2B01:00",
    ):
        assert len(get(api, f"/v1/events?since={since}").json["items"]) == 1, since
        assert get(api, f"/v1/events?until={since}").json["items"] == [], since


@pytest.mark.parametrize(
    "route", [*(k.list_route for k in KINDS), *(f"/v1/stats/{s}" for s in STATISTICS)]
)
@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("nonsense=1", "nonsense"),
        ("since=yesterday", "since"),
        ("until=", "until"),
        ("since=7x", "since"),
        ("since=1&since=2", "more than once"),
        ("until=99999999999999999999", "until"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_400_with_a_sentence(api, path, route, query, word):
    answer = get(api, f"{route}?{query}")
    assert answer.status_code == 400
    assert set(answer.json) == {"error"}
    assert word in answer.json["error"]


@pytest.mark.parametrize(
    "target",
    ["/v1/traces?limit=0", "/v1/traces?limit=1001", "/v1/traces?limit=x", "/v1/traces?limit=",
     "/v1/traces?cursor=x", "/v1/traces?status=odd", "/v1/traces?name=x", "/v1/metrics?model=m",
     "/v1/stats/cost?by=x", "/v1/stats/latency?by=day", "/v1/stats/errors?by=", "/v1/stats/cost?limit=1"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_400(api, path, target):
    answer = get(api, target)
    assert answer.status_code == 400
    assert answer.json["error"]


def test_statistics(api, path):
    insert(
        path,
        "llm_traces",
        [{"cost_usd": 1, "latency_ms": 5, "total_tokens": 3}, {"status": "timeout"}],
    )
    cost = get(api, "/v1/stats/cost?by=provider").json
    assert cost["items"][0]["provider"] == "p"
    assert cost["total"]["calls_without_cost"] == 1
    latency = get(api, "/v1/stats/latency").json["items"]
    assert latency[0]["latency_ms"] == {"p50": 5, "p95": 5, "p99": 5, "max": 5}
    errors = get(api, "/v1/stats/errors").json
    assert errors == {"items": [{"category": "timeout", "count": 1}], "total": {"count": 1}}


def test_an_answer_is_kept_for_moments_for_the_same_question_only(api, path):
    assert get(api, "/v1/stats/errors").json["total"]["count"] == 0
    insert(path, "error_events", [{}])
    assert get(api, "/v1/stats/errors").json["total"]["count"] == 0
    assert get(api, "/v1/stats/errors?since=0").json["total"]["count"] == 1


def test_strangers_and_web_pages_read_nothing(api, path):
    for target in ("/v1/traces", "/v1/metrics", "/v1/stats/cost"):
        assert get(api, target, remote="10.0.0.9").status_code == 401
        assert get(api, target, headers={"Origin": "http://localhost"}).status_code == 403
        token = {"Authorization": "Bearer k3y"}
        assert get(api, target, remote="10.0.0.9", headers=token).status_code == 200


def test_without_a_database_it_is_503_with_the_cause(api, tmp_path):
    for target in ("/v1/traces", "/v1/stats/cost"):
        answer = get(api, target)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json["error"]
    opened = Store(tmp_path / "trace.db", synchronous="full")
    opened.open()
    opened.close()
    assert get(api, "/v1/traces").status_code == 200


def test_posting_to_what_is_only_read_is_405(api, path):
    answer = api.request("POST", "/v1/processes", b"{}")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
