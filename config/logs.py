"""Log lines: JSON objects, one a line, on standard error; readable text on a terminal."""

import json
import logging
import sys
import time
from typing import Final

PLAIN_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """`time` (ISO 8601, UTC), `level`, `logger`, `message`, and `exception` where there is one."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter() -> logging.Formatter:
    """The one that suits standard error."""
    return logging.Formatter(PLAIN_FORMAT) if sys.stderr.isatty() else JsonFormatter()


def configure(level: str) -> None:
    """Sends the log of the whole process to standard error. Calling it again changes the level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    # Below error it logs requests with their path, which may hold a token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("schedule").setLevel(logging.WARNING)
