import json
import logging
import sys

from config.logs import JsonFormatter


def format_line(message, *args, exc_info=None):
    record = logging.LogRecord("tracer.x", logging.ERROR, "f.py", 1, message, args, exc_info)
    return JsonFormatter().format(record)


def test_a_line_is_one_json_object_whatever_is_in_it():
    line = format_line("odd %s", "\n\x1b[31m\u2028\ud800")
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["level"] == "error"
    assert parsed["logger"] == "tracer.x"
    assert parsed["time"].endswith("Z")


def test_an_exception_comes_with_its_traceback():
    try:
        raise ValueError("broken")
    except ValueError:
        line = format_line("failed", exc_info=sys.exc_info())
    assert "ValueError: broken" in json.loads(line)["exception"]
