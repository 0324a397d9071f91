import socket

import pytest

from config.readers import Address, days, duration_s, size_bytes
from config.settings import OLDER_SPELLINGS, declared, load
from tracer.errors import SettingsError


def test_every_setting_has_a_readable_default_and_help():
    """A start with an empty environment works."""
    settings = load({})
    assert settings.port == 9090
    assert settings.bind == (Address("127.0.0.1", 9090), Address("::1", 9090))
    assert settings.db_path.name == "openclaw-trace.db"
    assert settings.queue_capacity == 512
    assert settings.shutdown_timeout == 4
    assert settings.warnings == ()
    assert all(field.metadata["help"] for field in declared().values())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("15s", 15), ("5m", 300), ("2h", 7200), ("7d", 604800), ("30", 30)],
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("16384", 16384), ("64KB", 65536), ("5mb", 5 << 20), ("1GB", 1 << 30)]
)
def test_sizes_are_powers_of_1024(text, size):
    assert size_bytes(text) == size


def test_a_bare_retention_counts_days():
    assert days("7") == 7
    assert days("36h") == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRACE_PORT", "70000"),
        ("TRACE_PORT", "9０90"),
        ("TRACE_PUSH_INTERVAL", "5 minutes"),
        ("TRACE_PUSH_INTERVAL", "0"),
        ("TRACE_PUSH_INTERVAL", "99999d"),
        ("TRACER_PORT", "x"),
        ("TRACE_MAX_BODY_BYTES", "-1"),
        ("TRACE_MAX_BODY_BYTES", "5TB"),
        ("TRACE_MAX_BODY_BYTES", "99999999GB"),
        ("TRACE_QUEUE_CAPACITY", "0"),
        ("TRACE_LOG_LEVEL", "loud"),
        ("TRACE_REDACT", "perhaps"),
        ("TRACE_DISK_MAX_PERCENT", "101"),
        ("TRACE_BIND", "127.0.0.1:99999"),
        ("TRACE_BIND", "::1:9090"),
        ("TRACE_SYNCHRONOUS", "off"),
        ("TRACE_WATCH_PROCESS", "port:0"),
        ("TRACE_WATCH_PROCESS", "port:http"),
        ("TRACE_WATCH_PROCESS", "pid:agent.pid"),
        ("TRACE_WATCH_PROCESS", "gateway("),
        ("TRACE_METRICS_SCOPE", "container"),
    ],
)
def test_an_unreadable_value_names_variable_value_and_what_is_accepted(name, value):
    with pytest.raises(SettingsError) as error:
        load({name: value})
    assert name in str(error.value)
    assert value in str(error.value)
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_is_no_text_is_refused_and_a_path_is_absolute():
    with pytest.raises(SettingsError, match="UTF-8"):
        load({"TRACE_AGENT_ID": "\udcff"})
    assert load({"TRACE_DB_PATH": ":memory:"}).db_path.is_absolute()


def test_port_applies_to_addresses_without_one():
    settings = load({"TRACE_BIND": "0.0.0.0, [::1]:7000, localhost", "TRACE_PORT": "8000"})
    assert [str(address) for address in settings.bind] == [
        "0.0.0.0:8000",
        "[::1]:7000",
        "localhost:8000",
    ]


def test_the_agents_own_port_is_not_read():
    assert load({"PORT": "3000"}).port == 9090


@pytest.mark.parametrize(("older", "name"), OLDER_SPELLINGS.items())
def test_older_spellings_are_read_and_the_newer_wins(older, name):
    field = name.removeprefix("TRACE_").lower()
    values = {
        "TRACE_PUSH_ENDPOINT": ("http://a.example/1", "http://b.example/2"),
        "TRACE_DB_PATH": ("/a/1.db", "/b/2.db"),
        "TRACE_LOG_LEVEL": ("debug", "error"),
    }
    first, second = values.get(name, ("11", "12"))
    only_older, both = load({older: first}), load({older: first, name: second})
    assert str(getattr(only_older, field)).startswith(first)
    assert str(getattr(both, field)).startswith(second)
    assert not only_older.warnings


def test_an_unknown_name_is_warned_about_with_the_nearest_known_one():
    settings = load({"TRACE_PUSH_ENDPONT": "x", "TRACE_X": "1", "UNRELATED": "1"})
    assert len(settings.warnings) == 2
    assert "TRACE_PUSH_ENDPONT" in settings.warnings[0]
    assert "TRACE_PUSH_ENDPOINT" in settings.warnings[0]


def test_a_secret_can_come_from_a_file_and_is_never_shown(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("s3cret\n")
    settings = load(
        {"TRACE_API_KEY_FILE": str(secret), "TRACE_PUSH_ENDPOINT": "http://x?token=t0k"}
    )
    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)
    assert "t0k" not in repr(settings)
    assert not settings.warnings


def test_a_file_wins_over_an_older_spelling_and_over_an_empty_variable(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("new")
    settings = load(
        {
            "TRACE_PUSH_API_KEY": "",
            "TRACE_PUSH_API_KEY_FILE": str(secret),
            "TRACER_PUSH_API_KEY": "old",
            "TRACE_API_KEY_FILE": "",
        }
    )
    assert settings.push_api_key == "new"
    assert settings.api_key == ""


def test_errors_about_secrets_do_not_quote_them(tmp_path):
    with pytest.raises(SettingsError) as error:
        load({"TRACE_PUSH_ENDPOINT": "ftp://host/?token=t0k"})
    assert "t0k" not in str(error.value)
    with pytest.raises(SettingsError, match="TRACE_API_KEY_FILE"):
        load({"TRACE_API_KEY_FILE": str(tmp_path / "missing")})


def test_empty_means_default_where_empty_says_nothing_and_none_where_it_does():
    settings = load({"TRACE_PORT": "", "TRACE_DNS_PROBES": "", "TRACE_WATCH_PROCESS": ""})
    assert settings.port == 9090
    assert settings.dns_probes == ()
    assert settings.watch_process == ""


def test_agent_id_falls_back_to_the_fly_machine_then_the_host():
    assert load({"TRACE_AGENT_ID": "mine", "FLY_MACHINE_ID": "fly"}).agent_id == "mine"
    assert load({"FLY_MACHINE_ID": "fly"}).agent_id == "fly"
    assert load({}).agent_id == socket.gethostname()
