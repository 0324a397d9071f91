"""Log lines: JSON objects, one a line, on standard error; readable text on a terminal."""

import json
import logging
import sys
import time
from typing import Final

from tracer import redact

PLAIN_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """`time` (ISO 8601, UTC), `level`, `logger`, `message`, and `exception` where there is one."""

    converter = staticmethod(time.gmtime)

    def __init__(self, *, is_redacting: bool) -> None:
        super().__init__()
        self._shown = redact.text if is_redacting else str

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._shown(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = self._shown(self.formatException(record.exc_info))
        return json.dumps(line)


class PlainFormatter(logging.Formatter):
    """One line of readable text."""

    def __init__(self, *, is_redacting: bool) -> None:
        super().__init__(PLAIN_FORMAT)
        self._is_redacting = is_redacting

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return redact.text(line) if self._is_redacting else line


def formatter(*, is_redacting: bool) -> logging.Formatter:
    """The one that suits standard error."""
    kind = PlainFormatter if sys.stderr.isatty() else JsonFormatter
    return kind(is_redacting=is_redacting)


def configure(level: str, *, is_redacting: bool) -> None:
    """Sends the log of the whole process to standard error. Calling it again changes the level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(is_redacting=is_redacting))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    # Below error it logs requests with their path, which may hold a token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("schedule").setLevel(logging.WARNING)
