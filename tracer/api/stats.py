"""GET of statistics (contract section 5)."""

import threading
from collections.abc import Callable
from typing import Any, Final

import falcon
import msgspec
from cachetools import TTLCache

from tracer.api import parameters
from tracer.errors import ParameterError

KEPT_S: Final = 2.0
"""A dashboard asks the same from several panels and tabs at once."""
KEPT_ANSWERS: Final = 16

Compute = Callable[[str, int | None, int | None], dict[str, Any]]

_encode = msgspec.json.Encoder().encode


class Statistics:
    """One kind of statistics. Answers are up to `KEPT_S` old."""

    def __init__(self, compute: Compute, choices: tuple[str, ...]) -> None:
        self._compute = compute
        self._choices = choices
        self._kept: TTLCache[tuple[str | None, ...], bytes] = TTLCache(KEPT_ANSWERS, KEPT_S)
        self._lock = threading.Lock()

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        sent = parameters.read(request, ("by", "since", "until"))
        by = sent.get("by", self._choices[0])
        if by not in self._choices:
            raise ParameterError(f"by is one of {', '.join(self._choices)}")
        bounds = parameters.read_bounds(sent)
        key = (by, sent.get("since"), sent.get("until"))
        with self._lock:
            answer = self._kept.get(key)
        if answer is None:
            answer = _encode(self._compute(by, *bounds))
            with self._lock:
                self._kept[key] = answer
        response.data = answer
        response.cache_control = ["no-store"]
