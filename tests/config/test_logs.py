import json
import logging
import sys

import pytest

from config.logs import JsonFormatter, PlainFormatter


def format_line(message, *args, exc_info=None, formatter=JsonFormatter, is_redacting=True):
    record = logging.LogRecord("tracer.x", logging.ERROR, "f.py", 1, message, args, exc_info)
    return formatter(is_redacting=is_redacting).format(record)


def test_a_line_is_one_json_object_whatever_is_in_it():
    line = format_line("odd %s", "\n\x1b[31m\u2028\ud800")
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["level"] == "error"
    assert parsed["logger"] == "tracer.x"
    assert parsed["time"].endswith("Z")


def test_an_exception_comes_with_its_traceback():
    try:
        raise ValueError("broken, Bearer abcdef123456")
    except ValueError:
        line = format_line("failed", exc_info=sys.exc_info())
    assert "ValueError: broken, Bearer [REDACTED:credential]" in json.loads(line)["exception"]


@pytest.mark.parametrize("formatter", [JsonFormatter, PlainFormatter])
def test_secrets_are_redacted_unless_that_is_off(formatter):
    message = "to https://me:hunter2@example.com"
    assert "hunter2" not in format_line(message, formatter=formatter)
    assert "hunter2" in format_line(message, formatter=formatter, is_redacting=False)
