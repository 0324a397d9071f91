import gzip
import io
import json
import threading
import time

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import wait_until
from tests.support.events import KIND_AND_PAYLOAD
from tracer.intake import OLDEST_PENDING_S

CALL = b'{"provider":"p","model":"m"}'
NDJSON = "application/x-ndjson"


def counts(api):
    counted = api.ledger.counts()
    assert counted["received"] == counted["accepted"] + sum(counted["rejected"].values())
    return counted


def test_one_object_is_202_and_names_its_identity(api):
    answer = api.post(CALL)
    assert answer.status_code == 202
    assert answer.json == {
        "accepted": 1,
        "rejected": 0,
        "trace_ids": [api.intake.take(not_before=0, timeout_s=0)[0].trace_id],
        "errors": [],
    }
    assert answer.headers["content-type"] == "application/json"


def test_in_an_array_the_good_are_kept_and_each_bad_one_reported_by_index(api):
    answer = api.post(
        b'[%s, {"provider":"p"}, 5, {"prompt_tokens":-1,"provider":"p","model":"m"}]' % CALL
    )
    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["rejected"]) == (1, 3)
    assert len(answer.json["trace_ids"]) == 1
    assert [(e["index"], e["field"]) for e in answer.json["errors"]] == [
        (1, "model"),
        (2, None),
        (3, "prompt_tokens"),
    ]
    assert counts(api)["rejected"] == {"missing_field": 1, "wrong_type": 1, "out_of_range": 1}


def test_in_ndjson_a_bad_line_costs_only_itself(api):
    body = CALL + b"\r\n\n{not json\n\xff\n" + CALL
    answer = api.post(body, media=NDJSON)
    assert (answer.status_code, answer.json["accepted"]) == (202, 2)
    assert [e["index"] for e in answer.json["errors"]] == [1, 2]
    assert counts(api)["rejected"] == {"not_json": 1, "invalid_utf8": 1}


def test_a_lone_surrogate_in_an_array_costs_nobody_anything(api):
    answer = api.post(b'[%s, {"provider":"p","model":"m\\ud83d"}]' % CALL)
    assert (answer.status_code, answer.json["accepted"]) == (202, 2)
    assert "m\ufffd" in api.intake.take(not_before=0, timeout_s=0)[1].row


def test_blank_lines_in_ndjson_count_for_nothing(api):
    answer = api.post(b"\n\r\n  \n".join([CALL] * 15), media=NDJSON)
    assert (answer.status_code, answer.json["accepted"]) == (202, 15)


def test_with_no_good_event_it_is_400_in_the_same_form(api):
    answer = api.post(b'{"provider":"p"}')
    assert answer.status_code == 400
    assert answer.json == {
        "accepted": 0,
        "rejected": 1,
        "trace_ids": [],
        "errors": [{"index": 0, "field": "model", "message": "model is required"}],
    }


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/errors", "/v1/events"])
def test_each_kind_has_its_route(api, path):
    everything = {"provider": "p", "model": "m", "error_type": "crash", "message": "x", "name": "n"}
    assert api.post(json.dumps(everything).encode(), path).status_code == 202


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"[]", "empty"),
        (b"nonsense", "not_json"),
        (b"[" + CALL, "not_json"),
        (b"[" + CALL + b",]", "not_json"),
        (b"[" + CALL + b", nonsense]", "not_json"),
        (b"\xef\xbb\xbf" + CALL, "not_json"),
        (CALL.decode().encode("utf-16"), "invalid_utf8"),
        (b'["\xff"]', "invalid_utf8"),
        (b"5", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"null", "wrong_type"),
    ],
)
def test_a_body_that_cannot_be_read_is_400_and_counts_once(api, body, reason):
    answer = api.post(body)
    assert answer.status_code == 400
    assert answer.json["errors"][0]["message"]
    assert counts(api)["rejected"] == {reason: 1}


def test_an_array_of_arrays_is_400_however_deep(api):
    """How deep the decoder goes depends on the Python version."""
    assert api.post(b"[" * 9000 + b"]" * 9000).status_code == 400
    assert set(counts(api)["rejected"]) < {"too_deep", "wrong_type"}


@pytest.mark.parametrize(
    "media",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"],
)
def test_another_content_type_is_415_and_says_what_to_send(api, media):
    answer = api.post(CALL, media=media)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json["errors"][0]["message"]
    assert counts(api)["rejected"] == {"unsupported_type": 1}


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
def test_parameters_and_case_of_the_content_type_do_not_matter(api, media):
    assert api.post(CALL, media=media).status_code == 202


def test_gzip_of_one_or_several_members_is_understood(api):
    body = gzip.compress(CALL[:10]) + gzip.compress(CALL[10:])
    assert api.post(body, Content_Encoding="gzip").status_code == 202
    assert api.post(body, Content_Encoding=" GZIP").status_code == 202


def test_gzip_that_is_cut_off_or_none_is_400_and_another_encoding_415(api):
    packed = gzip.compress(CALL)
    assert api.post(packed[:-3], Content_Encoding="gzip").status_code == 400
    assert api.post(CALL, Content_Encoding="gzip").status_code == 400
    assert api.post(packed, Content_Encoding="br").status_code == 415
    assert api.post(packed, Content_Encoding="gzip, gzip").status_code == 415


def test_too_large_is_413_before_and_after_decompression(api):
    large = b'{"provider":"p","model":"m","input_text":"' + b"x" * 30000 + b'"}'
    for answer in (api.post(large), api.post(gzip.compress(large), Content_Encoding="gzip")):
        assert answer.status_code == 413
        assert "20000" in answer.json["errors"][0]["message"]
    bomb = gzip.compress(b"x" * 10**7)
    assert len(bomb) < 20000
    many = gzip.compress(CALL) + gzip.compress(b"") * 300
    assert api.post(many, Content_Encoding="gzip").status_code == 400
    assert api.post(bomb, Content_Encoding="gzip").status_code == 413
    assert counts(api)["rejected"] == {"too_large": 3, "incomplete": 1}


@pytest.mark.parametrize(
    "body", [b"[" + b"0," * 9000 + b"0]", b"[" + b",".join([CALL] * 21) + b"]"]
)
def test_more_events_than_the_queue_can_hold_is_413(api, body):
    assert api.post(body).status_code == 413
    ndjson = body.strip(b"[]").replace(b",{", b"\n{").replace(b",0", b"\n0")
    assert api.post(ndjson, media=NDJSON).status_code == 413
    assert len(api.intake) == 0


def test_a_full_queue_is_429_and_nothing_of_the_batch_is_taken(api):
    assert api.post(b"[" + b",".join([CALL] * 18) + b"]").status_code == 202
    answer = api.post(b"[" + b",".join([CALL] * 3) + b"]")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert answer.json["rejected"] == 3
    assert answer.json["trace_ids"] == []
    assert len(api.intake) == 18
    assert counts(api)["rejected"] == {"queue_full": 3}


def test_when_the_disk_is_behind_it_is_503_at_once(api, monkeypatch):
    api.post(CALL)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + OLDEST_PENDING_S + 0.1)
    answer = api.post(CALL)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    api.intake.refuse("shutting down")
    assert "shutting down" in api.post(CALL).json["errors"][0]["message"]


def test_prefer_wait_answers_after_the_commit(api):
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(api.post(CALL, Prefer="respond-async, Wait=3; x"))
    )
    waiting.start()
    wait_until(lambda: len(api.intake))
    assert not answers
    api.intake.settle(1, stored=1)
    waiting.join(5)
    assert answers[0].status_code == 200
    assert answers[0].headers["preference-applied"] == "wait"
    assert answers[0].json["accepted"] == 1


def test_prefer_wait_says_503_when_it_was_lost_or_takes_too_long(api, monkeypatch):
    monkeypatch.setattr("tracer.api.ingest.WAIT_S", 0.05)
    late = api.post(CALL, Prefer="wait")
    assert late.status_code == 503
    assert len(late.json["trace_ids"]) == 1
    assert late.json["rejected"] == 0
    api.intake.settle(1, stored=1)
    monkeypatch.setattr("tracer.api.ingest.WAIT_S", 5)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(api.post(CALL, Prefer="wait")))
    waiting.start()
    wait_until(lambda: len(api.intake))
    api.intake.settle(1, stored=0, lost=[0])
    waiting.join(5)
    assert answers[0].status_code == 503
    assert "refused 1" in answers[0].json["errors"][0]["message"]
    assert "retry-after" not in answers[0].headers


def simulate_stream(api, stream, **extra):
    environ = testing.create_environ(
        path="/v1/traces", method="POST", headers={"Content-Type": "application/json"}
    )
    environ |= {"wsgi.input": stream, "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"} | extra
    start = testing.StartResponseMock()
    body = b"".join(api.app(environ, start))
    return int(start.status[:3]), json.loads(body)


def test_a_body_without_length_is_read(api):
    status, _ = simulate_stream(api, io.BytesIO(CALL), HTTP_TRANSFER_ENCODING="chunked")
    assert status == 202
    status, _ = simulate_stream(api, io.BytesIO(b"x" * 20001), HTTP_TRANSFER_ENCODING="chunked")
    assert status == 413


def test_a_body_shorter_than_announced_or_stalled_is_400(api):
    status, answer = simulate_stream(api, io.BytesIO(CALL), CONTENT_LENGTH="99")
    assert status == 400
    assert "announced" in answer["errors"][0]["message"]

    class Stalled:
        def read(self, _size):
            raise BlockingIOError("timed out")

    status, answer = simulate_stream(api, Stalled(), CONTENT_LENGTH="99")
    assert status == 400
    assert "in time" in answer["errors"][0]["message"]
    assert counts(api)["rejected"] == {"incomplete": 2}


def test_other_methods_and_paths(api):
    answer = api.request("PUT", "/v1/traces")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert api.request("GET", "/nothing").json == {"error": "404 Not Found"}
    xml = api.request("GET", "/nothing", headers={"Accept": "application/xml"})
    assert xml.headers["content-type"] == "application/json"


def test_a_bug_of_ours_is_500_without_details(api, monkeypatch, caplog):
    monkeypatch.setattr(api.intake, "offer", lambda *_, **__: 1 / 0)
    answer = api.post(CALL)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_bug_while_reading_is_counted(api, monkeypatch):
    monkeypatch.setattr("tracer.api.body.media_type", lambda *_: 1 / 0)
    assert api.post(CALL).status_code == 500
    assert counts(api)["rejected"] == {"internal": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(KIND_AND_PAYLOAD.map(lambda pair: pair[1]), max_size=4), st.sampled_from("aon"))
def test_nearly_valid_bodies_never_get_a_500_and_the_ledger_balances(api, payloads, form):
    for path in ("/v1/traces", "/v1/errors", "/v1/events"):
        if form == "a":
            answer = api.post(json.dumps(payloads).encode(), path)
        elif form == "o":
            answer = api.post(json.dumps(payloads[0] if payloads else {}).encode(), path)
        else:
            answer = api.post("\n".join(map(json.dumps, payloads)).encode(), path, NDJSON)
        assert answer.status_code in (202, 400, 413)
        assert answer.json["accepted"] == len(answer.json["trace_ids"]) == len(api.intake)
        counted = counts(api)
        assert counted["accepted"] == counted["stored"] + counted["queued"]
        api.intake.settle(len(api.intake), stored=len(api.intake))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0dD8 \n1eE-.tfn').map(str.encode))
def test_any_bytes_get_an_answer_that_is_no_500(api, body):
    for media in ("application/json", NDJSON):
        assert api.post(body, media=media).status_code in (400, 413)
    assert api.post(body, Content_Encoding="gzip").status_code == 400
