import json
import uuid

import pytest
from hypothesis import given

from tests.support.decoders import decoder_of
from tests.support.events import KIND_AND_PAYLOAD
from tests.support.prices import SHIPPED
from tracer.errors import EventError
from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.ledger import Rejection

NOW = 1795311697425
CALL = {"provider": "p", "model": "m"}


def read(kind, event, max_text_bytes=16384):
    text = event if isinstance(event, bytes) else json.dumps(event).encode()
    decoder = decoder_of(kind, max_text_bytes=max_text_bytes)
    return dict(zip(kind.stored_columns(), decoder.decode(text, NOW).row, strict=True))


def refusal(kind, event):
    with pytest.raises(EventError) as error:
        read(kind, event)
    return error.value


def test_the_smallest_call_gets_its_defaults():
    row = read(LlmTrace, CALL)
    assert {name: value for name, value in row.items() if value is not None} == {
        "trace_id": row["trace_id"],
        "created_at": NOW,
        "received_at": NOW,
        "agent_id": "agent-1",
        "provider": "p",
        "model": "m",
        "operation": "chat",
        "status": "success",
    }
    assert uuid.UUID(row["trace_id"]).version == 7


def test_null_is_the_same_as_not_sent():
    nulls = {f.wire_name: None for f in LlmTrace.wire_fields() if not f.required}
    row, plain = read(LlmTrace, nulls | CALL), read(LlmTrace, CALL)
    assert row | {"trace_id": None} == plain | {"trace_id": None}


def test_both_roads_end_in_the_same_values():
    """An unknown field sends the event down the lenient road; nothing else may change."""
    event = CALL | {
        "trace_id": str(uuid.uuid4()),
        "timestamp": "2026-11-22T01:02:03.456Z",
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "latency_ms": 1.5,
        "cost_usd": 0.004002,
        "status": "rate_limited",
        "metadata": {"a": [1, {"b": None}]},
        "input_text": "hé 😀",
    }
    fast, lenient = read(LlmTrace, event), read(LlmTrace, event | {"zz": 1})
    assert json.loads(lenient.pop("metadata")) == {"a": [1, {"b": None}], "zz": 1}
    assert json.loads(fast.pop("metadata")) == {"a": [1, {"b": None}]}
    assert fast == lenient
    assert fast["total_tokens"] == 15
    assert fast["cost_source"] == "agent"


def test_every_alias_reads_into_its_field():
    for kind in KINDS:
        required = {f.wire_name: "x" for f in kind.wire_fields() if f.required}
        for field in kind.wire_fields():
            for alias in field.aliases:
                event = {n: v for n, v in required.items() if n != field.wire_name}
                value = 1 if field.field_type != "TEXT" else "x"
                row = read(kind, event | {alias: value})
                expected = 1000 if field.name == "created_at" else value
                assert row[field.name] == expected, alias
                assert row["metadata"] is None


def test_the_fields_own_name_wins_over_an_alias_which_is_kept():
    row = read(LlmTrace, CALL | {"gen_ai.system": "other"})
    assert row["provider"] == "p"
    assert json.loads(row["metadata"]) == {"gen_ai.system": "other"}
    assert read(LlmTrace, {"provider": None, "model": "m", "gen_ai.system": "q"})["provider"] == "q"


def test_names_of_older_conventions_in_other_shapes():
    row = read(
        LlmTrace,
        {
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.usage.input_tokens": "12",
        },
    )
    assert (row["finish_reason"], row["ttft_ms"], row["prompt_tokens"]) == ("stop,length", 250, 12)


def test_unknown_fields_join_metadata_and_overwrite_nothing():
    row = read(CustomEvent, {"name": "n", "metadata": {"foo": 1}, "foo": 2, "received_at": 5})
    assert json.loads(row["metadata"]) == {"foo": 1, "event.foo": 2, "received_at": 5}
    assert row["received_at"] == NOW


def test_metadata_may_be_a_string_that_holds_an_object():
    assert json.loads(read(CustomEvent, {"name": "n", "metadata": '{"a": 1}'})["metadata"]) == {
        "a": 1
    }


@pytest.mark.parametrize("metadata", [[1], "text", '"x"', "[1]", 5, True])
def test_other_metadata_is_refused(metadata):
    error = refusal(CustomEvent, {"name": "n", "metadata": metadata})
    assert (error.reason, error.field) == (Rejection.WRONG_TYPE, "metadata")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("OK", "success"),
        ("ok", "success"),
        ("TIMEOUT", "timeout"),
        ("rate_limited", "rate_limited"),
    ],
)
def test_status_words(sent, stored):
    assert read(LlmTrace, CALL | {"status": sent})["status"] == stored


def test_numbers_in_strings_and_whole_floats_are_read():
    row = read(LlmTrace, CALL | {"prompt_tokens": "12", "completion_tokens": 5.0, "ttft_ms": "7.5"})
    assert (row["prompt_tokens"], row["completion_tokens"], row["ttft_ms"]) == (12, 5, 7.5)
    assert row["total_tokens"] == 17


def test_long_text_is_cut_on_a_character_and_its_size_recorded():
    text = "é" * 40
    row = read(LlmTrace, CALL | {"input_text": "x" + text, "output_text": "x" * 32}, 32)
    assert row["input_text"] == "x" + "é" * 15
    assert row["output_text"] == "x" * 32
    assert json.loads(row["metadata"]) == {"truncated": {"input_text": 81}}
    long_name = read(LlmTrace, CALL | {"model": "m" * 5000})
    assert len(long_name["model"]) == 4096
    assert json.loads(long_name["metadata"]) == {"truncated": {"model": 5000}}


def test_ids_that_differ_only_in_what_is_cut_are_two_events():
    rows = [read(CustomEvent, {"name": "n", "trace_id": "x" * 5000 + end}) for end in "ab"]
    assert rows[0]["trace_id"] != rows[1]["trace_id"]
    assert [len(row["otel_trace_id"]) for row in rows] == [4096, 4096]


def test_a_lone_surrogate_is_replaced_not_refused():
    row = read(CustomEvent, b'{"name":"a\\ud83d","metadata":{"\\udc00":"\\ud83d\\ude00 \\ud83d"}}')
    assert row["name"] == "a\ufffd"
    assert json.loads(row["metadata"]) == {"\ufffd": "😀 \ufffd"}


def test_an_error_type_of_the_agents_own_becomes_the_category():
    row = read(ErrorEvent, {"error_type": "tool_failed", "message": "m"})
    assert (row["error_type"], row["category"]) == ("system_error", "tool_failed")
    both = read(ErrorEvent, {"error_type": "tool_failed", "message": "m", "category": "timeout"})
    assert (both["error_type"], both["category"]) == ("system_error", "timeout")
    assert json.loads(both["metadata"]) == {"error_type": "tool_failed"}
    known = read(ErrorEvent, {"error_type": "crash", "message": "m", "severity": "fatal"})
    assert (known["error_type"], known["category"], known["severity"]) == (
        "crash",
        "process_crash",
        "critical",
    )


@pytest.mark.parametrize(
    ("event", "reason", "field"),
    [
        (b"", Rejection.NOT_JSON, None),
        (b"{", Rejection.NOT_JSON, None),
        (b'{"provider":"p","model":"m"} x', Rejection.NOT_JSON, None),
        (b'{"provider":"p","model":"m","latency_ms":NaN}', Rejection.NOT_JSON, None),
        (b'{"provider":"p","model":"\xff"}', Rejection.INVALID_UTF8, None),
        (b'{"provider":"p","model":"\xed\xa0\x80"}', Rejection.INVALID_UTF8, None),
        (b"[1]", Rejection.WRONG_TYPE, None),
        ({"provider": "p"}, Rejection.MISSING_FIELD, "model"),
        ({"provider": None, "model": "m"}, Rejection.MISSING_FIELD, "provider"),
        ({"provider": 5, "model": "m"}, Rejection.WRONG_TYPE, "provider"),
        ({"provider": "", "model": "m"}, Rejection.OUT_OF_RANGE, "provider"),
        (CALL | {"prompt_tokens": -1}, Rejection.OUT_OF_RANGE, "prompt_tokens"),
        (CALL | {"prompt_tokens": 2**63}, Rejection.OUT_OF_RANGE, "prompt_tokens"),
        (CALL | {"prompt_tokens": 1.5}, Rejection.WRONG_TYPE, "prompt_tokens"),
        (CALL | {"prompt_tokens": True}, Rejection.WRONG_TYPE, "prompt_tokens"),
        (CALL | {"prompt_tokens": "many"}, Rejection.WRONG_TYPE, "prompt_tokens"),
        (CALL | {"latency_ms": "nan"}, Rejection.OUT_OF_RANGE, "latency_ms"),
        (
            CALL | {"gen_ai.usage.input_tokens": []},
            Rejection.WRONG_TYPE,
            "gen_ai.usage.input_tokens",
        ),
        (CALL | {"status": "great"}, Rejection.BAD_VALUE, "status"),
        (CALL | {"timestamp": "soon"}, Rejection.BAD_VALUE, "timestamp"),
        (CALL | {"timestamp": 1.8e15}, Rejection.OUT_OF_RANGE, "timestamp"),
        (CALL | {"metadata": {"n": 2**64}}, Rejection.OUT_OF_RANGE, "metadata"),
        (b'{"provider":"p","model":"m","x":1e999}', Rejection.OUT_OF_RANGE, "metadata"),
        (
            b'{"provider":"p","model":"m","x":' + b"[" * 70 + b"]" * 70 + b"}",
            Rejection.TOO_DEEP,
            "metadata",
        ),
        (
            b'{"provider":"p","model":"m","x":' + b"[" * 99999 + b"]" * 99999 + b"}",
            Rejection.TOO_DEEP,
            None,
        ),
    ],
)
def test_bad_events_are_refused_with_reason_field_and_sentence(event, reason, field):
    error = refusal(LlmTrace, event)
    assert (error.reason, error.field) == (reason, field)
    if field is not None:
        assert field in str(error)


@given(KIND_AND_PAYLOAD)
def test_any_payload_is_refused_with_a_reason_or_fits_the_database(kind_and_payload):
    kind, payload = kind_and_payload
    try:
        row = read(kind, payload)
    except EventError as error:
        assert error.reason in list(Rejection)
        assert str(error)
        return
    for name, value in row.items():
        assert value is None or isinstance(value, str | int | float), name
        if isinstance(value, str):
            value.encode()
        elif value is not None:
            assert 0 <= value < 2**53
    if row["metadata"] is not None:
        assert isinstance(json.loads(row["metadata"]), dict)


@pytest.mark.parametrize(
    "beside",
    [
        {"status_code": 429},
        {"metadata": {"status_code": "429"}},
        {"metadata": {"errorName": "RateLimitError"}},
        {"exception": "ThrottlingException"},
    ],
)
def test_cause_of_an_error_is_derived_from_what_is_beside_it(beside):
    row = read(ErrorEvent, {"error_type": "llm_error", "message": "no luck", **beside})
    assert row["category"] == "rate_limit"


SONNET = {"provider": "anthropic", "model": "claude-sonnet-4-5"}
ANTHROPIC = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 4000,
    "cache_creation_input_tokens": 0,
}
OPENAI = {
    "prompt_tokens": 4010,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4000},
}


@pytest.mark.parametrize("usage", [ANTHROPIC, OPENAI], ids=["additive", "subset"])
@pytest.mark.parametrize(
    "placed",
    [
        lambda usage: usage,
        lambda usage: {"usage": usage},
        lambda usage: {"metadata": {"usage": usage}},
        lambda usage: {"metadata": json.dumps({"raw_usage": usage})},
    ],
    ids=["flat", "object", "metadata", "metadata as text"],
)
def test_usage_in_the_words_of_a_provider_is_normalised_and_priced_once(usage, placed):
    row = read(LlmTrace, SONNET | placed(usage))
    tokens = [row[f"{name}_tokens"] for name in ("prompt", "cache_read", "completion", "total")]
    assert tokens == [4010, 4000, 5, 4015]
    assert row["cost_usd"] == pytest.approx((10 * 3 + 4000 * 0.3 + 5 * 15) / 1e6)
    assert row["cost_source"] == "computed"
    assert row["price_version"] == json.loads(SHIPPED.read_text())["version"]
    if "prompt_tokens" not in usage:  # what the provider said is kept beside it
        assert "cache_read_input_tokens" in row["metadata"]


def test_own_fields_have_precedence_over_a_providers_words():
    row = read(LlmTrace, SONNET | {"prompt_tokens": 7, "usage": ANTHROPIC})
    assert row["prompt_tokens"] == 7


def test_a_count_that_is_none_is_refused_under_the_providers_name():
    error = refusal(LlmTrace, SONNET | ANTHROPIC | {"input_tokens": -1})
    assert (error.reason, error.field) == (Rejection.OUT_OF_RANGE, "input_tokens")


@pytest.mark.parametrize("model", ["unheard-of", "claude-sonnet-4-5"])
def test_what_has_no_cost_has_null_not_zero(model):
    tokens = {"prompt_tokens": 10} if model == "unheard-of" else {}
    row = read(LlmTrace, SONNET | {"model": model} | tokens)
    assert (row["cost_usd"], row["cost_source"], row["price_version"]) == (None, None, None)


def test_a_span_around_calls_is_not_priced_again():
    row = read(LlmTrace, SONNET | {"operation": "invoke_agent", "prompt_tokens": 10})
    assert (row["cost_usd"], row["total_tokens"]) == (None, 10)
