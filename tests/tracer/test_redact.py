import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import ANY_JSON
from tests.support.secrets import MARKS, SECRETS
from tracer import redact


def has_mark(text):
    return any(mark in text for mark in MARKS)


def kind_of(name):
    return name.partition(" ")[0]


@pytest.mark.parametrize(("name", "secret"), SECRETS.items())
@pytest.mark.parametrize(
    "frame", ["{}", "before {} after", "({})", "key: {}\nmore", "a,{},b", "task-1 {}"]
)
def test_secret_is_replaced_by_its_kind(name, secret, frame):
    assert has_mark(secret), "a secret that could not be found again"
    text = frame.format(secret)
    redacted = redact.text(text)
    assert not has_mark(redacted)
    assert f"[REDACTED:{kind_of(name)}]" in redacted
    assert redact.is_suspect(json.dumps(text).encode())


@pytest.mark.parametrize(("name", "secret"), SECRETS.items())
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_secret_in_json_is_replaced_at_any_depth_of_it(name, secret, levels):
    value = {"a": ["x\n" + secret], secret: 1}
    for _ in range(levels - 1):
        value = {"body": json.dumps(value)}
    text = json.dumps(value)
    redacted = redact.json_text(text)
    assert not has_mark(redacted)
    json.loads(redacted)
    assert redact.is_suspect(text.encode())


KEYS = ["password", "Authorization", "x-api-key", "OPENAI_API_KEY", "cookie", "Set-Cookie"]
KEYS += ["slackBotToken", "client_secret", "aws_secret_access_key", "private-key", "apiKey", "PWD"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value", ["plain", 'with "quotes" and \\', {"a": ["plain", {"b": "plain"}]}, ["plain"], 4711]
)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_value_beside_the_name_of_a_secret_is_replaced(key, value, levels):
    content = {"before": 1, key: value, "after": {"kept": [1, "x"]}}
    for _ in range(levels - 1):
        content = {"body": json.dumps(content), "next": 5}
    text = json.dumps(content)
    redacted = redact.json_text(text)
    found = json.loads(redacted)
    for _ in range(levels - 1):
        assert found["next"] == 5
        found = json.loads(found["body"])
    assert found["after"] == {"kept": [1, "x"]}
    if value != 4711 or "Token" not in key:  # may be a number of tokens
        assert str(found[key]).startswith("[REDACTED:")
    assert redact.is_suspect(text.encode())


def test_escapes_hide_nothing():
    hidden = r'{"pass\u0077ord":"plain","x":"\u0073k-ant-api03-Zq8vT1xXyLw0aB4","u":"https:\/\/a:Zq8vT1xXyLw0@b"}'
    redacted = redact.json_text(hidden)
    assert json.loads(redacted)["password"] == "[REDACTED:password]"
    assert not has_mark(redacted)
    assert redact.is_suspect(hidden.encode())


@pytest.mark.parametrize(
    "harmless",
    [
        "bearer of good news",
        "a basic understanding of tokens",
        "task-force-of-thirty-people and disk-usage-statistics",
        "http://localhost:9090/v1/traces?limit=5",
        "mail me at someone@example.com about https://example.com",
        "the password is strong",
        "2026-11-22T10:00:00Z 550e8400-e29b-41d4-a716-446655440000",
        '{"prompt_tokens": 5, "max_tokens": 9, "token": 7, "sessionKey": "agent:main", "public_key": "x"}',
        '{"secret": null, "token": true}',
        "agent:main:main and call_abc-123",
        '{"why": "no token:", "next": "text of no secret", "a": ["x-api-key=", "b"]}',
        '{"a": "{\\"why\\": \\"no secret: \\", \\"next\\": \\"text of it\\"}"}',
        "the primary key: 'id', a key='value', # 1 and &amp; more",
    ],
)
def test_harmless_text_stays(harmless):
    assert redact.text(harmless) == harmless


@pytest.mark.parametrize("before", range(65_200, 65_560, 40))
def test_a_password_in_a_url_is_suspected_wherever_it_is_in_a_long_text(before):
    url = "https://x:" + "Zq8vT1xX" * 20 + "@example.com"
    assert redact.is_suspect(b'"' + b"y" * before + url.encode() + b'"')


@given(ANY_JSON)
def test_json_stays_json_and_what_holds_no_secret_stays_the_same(value):
    text = json.dumps(value)
    redacted = json.loads(redact.json_text(text))
    if not redact.is_suspect(text.encode()):
        assert json.dumps(redacted) == text


@pytest.mark.parametrize("name", ["password\\", "x\\\\api_key\\", 'token"\\'])
@pytest.mark.parametrize("value", ["plain", ["plain"], 1])
def test_a_name_that_ends_in_a_backslash_leaves_valid_json(name, value):
    text = json.dumps({"a": {name: value}, "b": [1]})
    assert json.loads(redact.json_text(text))["b"] == [1]


@pytest.mark.parametrize(
    "value",
    [
        ["'password':[", "it's", "]"],
        ["'password': 'abc", "it's", 1],
        [{"password' :": ", x", "b": 1}],
        ['"password":"x\\', 'y"', 1],
        ['{"password" :', ", x", 1],
    ],
)
def test_what_looks_like_a_value_does_not_reach_beyond_its_text(value):
    found = json.loads(redact.json_text(json.dumps(value)))
    assert len(found) == len(value)
    assert found[1:] == value[1:]


@given(st.lists(st.sampled_from([*'"\\{}[]:,a', "password"]), max_size=60).map("".join))
def test_any_text_is_taken(text):
    redact.text(text)


def test_redacting_twice_changes_nothing():
    text = json.dumps(SECRETS | {"password": "x"})
    once = redact.json_text(text)
    assert redact.json_text(once) == once


@pytest.mark.parametrize(
    "unit", ["Authorization: x\n", "secret='abcd' ", '{"password":1},', '{"password":' + "[[1],"]
)
def test_a_text_of_nothing_but_secrets_is_replaced_as_a_whole(unit):
    assert redact.text(unit * 20_000) == "[REDACTED:too_many]"
    assert "too_many" in json.loads(redact.json_text(unit * 20_000))["redacted"]
