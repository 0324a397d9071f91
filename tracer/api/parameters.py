"""Reads the parameters of a query. Whatever is wrong with one raises ParameterError."""

from collections.abc import Collection
from typing import NamedTuple

import falcon

from tracer.errors import EventError, ParameterError
from tracer.timestamps import now_ms, parse_bound_ms


def read(request: falcon.Request, known: Collection[str]) -> dict[str, str]:
    """All parameters, each of them known and given once."""
    sent = {}
    for name, value in request.params.items():
        if name not in known:
            can = ", ".join(known)
            raise ParameterError(f"{name[:40]!r} is no parameter here; there are {can}")
        if not isinstance(value, str):
            raise ParameterError(f"{name} is given more than once")
        sent[name] = value
    return sent


class Bounds(NamedTuple):
    """From `since_ms` to before `until_ms`; None for an open end."""

    since_ms: int | None
    until_ms: int | None


def read_bounds(parameters: dict[str, str]) -> Bounds:
    """`since` and `until`: a time, or a duration ago."""
    now = now_ms()
    return Bounds(*(_read_bound(name, parameters.get(name), now) for name in ("since", "until")))


def _read_bound(name: str, text: str | None, now: int) -> int | None:
    if text is None:
        return None
    try:
        return parse_bound_ms(text, now)
    except EventError as error:
        raise ParameterError(f"{name}: {error}; or a duration ago such as 7d") from None
