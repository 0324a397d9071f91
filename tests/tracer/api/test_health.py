def test_degraded_is_503(api):
    assert api.request("GET", "/health").status_code == 200
    assert api.request("HEAD", "/health").status_code == 200
    api.status = api.status | {"status": "degraded"}
    answer = api.request("GET", "/health")
    assert answer.status_code == 503
    assert answer.json["status"] == "degraded"
    assert answer.headers["cache-control"] == "no-store"
