"""The gateway's own word on how long it has been up: it may restart within the same process."""

import http.client
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tracer.collectors.base import Reading
from tracer.collectors.gateway import Found

TIMEOUT_S: Final = 0.5
MAX_BYTES: Final = 65536


class Startup:
    """Asks `/startupz` where the port is known. A version that answers something else is not asked
    again: an old one serves its web page at every path.
    """

    def __init__(self, found: Callable[[], Found | None]) -> None:
        self._found = found
        self._mute: tuple[int, int] | None = None

    def collect(self) -> Reading:
        found = self._found()
        if found is None or found.port is None or found.process.identity == self._mute:
            return Reading({})
        try:
            answer = _ask(found.port)
        except (OSError, http.client.HTTPException):  # busy, or still starting
            return Reading({})
        if answer is None:
            self._mute = found.process.identity
            return Reading({})
        return Reading({}, {"gateway_uptime_ms": answer})


def _ask(port: int) -> int | None:
    """`uptimeMs`, or None where there is no such thing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/startupz")
        content = connection.getresponse().read(MAX_BYTES)
    finally:
        connection.close()
    try:
        uptime_ms = msgspec.json.decode(content, type=dict[str, Any]).get("uptimeMs")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return uptime_ms if isinstance(uptime_ms, int) and uptime_ms >= 0 else None
