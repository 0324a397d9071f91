"""From the text of an environment variable to a value. Each raises ValueError: what is accepted."""

import re
from pathlib import Path
from typing import NamedTuple

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", re.A)
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 3650 * 86400
LARGEST_BYTES = 2**50
_SIZE = re.compile(r"(\d+)(b|kb|mb|gb|)", re.A)
_BYTES = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}


class Address(NamedTuple):
    """A TCP address; `port` 0 stands for the port of TRACE_PORT."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def duration_s(text: str) -> float:
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("a duration such as 250ms, 15s, 5m, 2h, 7d or a number of seconds")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST_S:
        raise ValueError("a duration of at most 3650d")
    return seconds


def positive_duration_s(text: str) -> float:
    value = duration_s(text)
    if value <= 0:
        raise ValueError("a duration above 0, such as 250ms, 15s, 5m, 2h or 7d")
    return value


def days(text: str) -> float:
    """A bare number counts days here, since the name of the setting says so."""
    text = text.strip()
    value = duration_s(text if re.search("[a-z]", text, re.I) else f"{text}d") / 86400
    if value <= 0:
        raise ValueError("a number of days above 0, or a duration such as 36h")
    return value


def size_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip().lower())
    size = int(match[1]) * _BYTES[match[2]] if match else 0
    if not 0 < size <= LARGEST_BYTES:
        raise ValueError("a size such as 16384, 64KB, 5MB or 1GB (powers of 1024)")
    return size


def count(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text.strip()) is None or not int(text):
        raise ValueError("a whole number from 1")
    return int(text)


def percent(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", text.strip()) is None or not 0 < float(text) <= 100:
        raise ValueError("a percentage above 0 and up to 100")
    return float(text)


def port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text.strip()) is None or not 0 < int(text) < 65536:
        raise ValueError("a port from 1 to 65535")
    return int(text)


def switch(text: str) -> bool:
    word = text.strip().lower()
    if word in ("on", "true", "yes", "1"):
        return True
    if word in ("off", "false", "no", "0"):
        return False
    raise ValueError("on or off")


def plain(text: str) -> str:
    return text.strip()


def watched_process(text: str) -> str:
    """Which process to watch; the text itself, once it is known to be readable."""
    text = text.strip()
    try:
        if text.startswith("port:"):
            port(text[5:])
        elif text.startswith("pid:") and not Path(text[4:]).is_absolute():
            raise ValueError(text)
        else:
            re.compile(text)
    except (ValueError, re.error):
        raise ValueError(
            "auto, pid:/path/of/file, port:N or a regular expression on the command line"
        ) from None
    return text


def path(text: str) -> Path:
    """Absolute, since SQLite has meanings of its own for names such as `:memory:`."""
    return Path(text.strip()).absolute()


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def url(text: str) -> str:
    text = text.strip()
    if text and re.match(r"https?://[^/\s?#]", text, re.I) is None:
        raise ValueError("a URL that begins with https:// or http://")
    return text


def addresses(text: str) -> tuple[Address, ...]:
    """`host:port, …`; a part without a port gets port 0."""
    found = []
    for part in names(text):
        match = re.fullmatch(r"(\[[0-9a-f:.%]+\]|[^:\s\[\]]+)(?::([0-9]{1,5}))?", part)
        if match is None:
            raise ValueError("addresses such as 127.0.0.1:9090 or [::1]:9090, comma-separated")
        found.append(Address(match[1].strip("[]"), port(match[2]) if match[2] else 0))
    if not found:
        raise ValueError("at least one address such as 127.0.0.1:9090")
    return tuple(found)
