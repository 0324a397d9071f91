"""The Falcon application: its parts come in from outside, so a test can hand it its own."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import falcon
import msgspec

from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.ingest import Ingest
from tracer.api.openapi import OpenApi
from tracer.api.otlp import Otlp
from tracer.api.query import Listing
from tracer.api.stats import Statistics
from tracer.errors import ParameterError, StoreError
from tracer.events import KINDS, Event, SystemMetric
from tracer.otlp import Signal
from tracer.reading import Reader
from tracer.statistics import COST_BY, ERRORS_BY, LATENCY_BY

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1

_encoder = msgspec.json.Encoder()


class _Both:
    """Falcon has one resource per route: here POST reports what GET lists."""

    def __init__(self, ingest: Ingest | Otlp, listing: Listing) -> None:
        self.on_post = ingest.on_post
        self.refuse = ingest.refuse
        self.on_get = listing.on_get


def create_app(
    guard: Guard,
    health: Health,
    *,
    ingest: Mapping[type[Event], Ingest],
    otlp: Mapping[Signal, Otlp],
    reader: Reader,
    further: Mapping[str, object] = MappingProxyType({}),
) -> falcon.App[Any, Any]:
    """Routes and error handling; `further` are resources by path. Starts nothing.

    OTLP traces come to a route of `ingest`.
    """
    app = falcon.App(middleware=[guard])
    json_handler = falcon.media.JSONHandler(
        dumps=lambda value: _encoder.encode(value).decode(), loads=msgspec.json.decode
    )
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = json_handler
    app.set_error_serializer(_serialize_error)
    app.add_error_handler(Exception, _handle_unexpected)
    app.add_error_handler(ParameterError, _handle_bad_parameter)
    app.add_error_handler(StoreError, _handle_unreadable)
    app.add_route("/health", health)
    app.add_route("/openapi.json", OpenApi(list(ingest)))
    posted: dict[type[Event], Ingest | Otlp] = {**ingest, SystemMetric: otlp[Signal.METRICS]}
    for kind in KINDS:
        listing = Listing(kind, reader)
        resource = _Both(posted[kind], listing) if kind in posted else listing
        app.add_route(kind.list_route, resource)
    app.add_route("/v1/logs", otlp[Signal.LOGS])
    app.add_route("/v1/stats/cost", Statistics(reader.cost, COST_BY))
    app.add_route("/v1/stats/latency", Statistics(reader.latency, LATENCY_BY))
    app.add_route("/v1/stats/errors", Statistics(reader.errors, tuple(ERRORS_BY)))
    for path, other in further.items():
        app.add_route(path, other)
    return app


def _serialize_error(
    _request: falcon.Request, response: falcon.Response, error: falcon.HTTPError
) -> None:
    """404, 405 and the like in our form: one sentence."""
    response.content_type = falcon.MEDIA_JSON
    response.data = _encoder.encode({"error": error.description or error.title})


def _handle_bad_parameter(
    _request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    raise falcon.HTTPBadRequest(description=str(error))


def _handle_unreadable(
    _request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    raise falcon.HTTPServiceUnavailable(description=str(error), retry_after=RETRY_AFTER_S)


def _handle_unexpected(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """A bug of ours. The caller learns no details, the log all of them."""
    if isinstance(error, falcon.HTTPStatus | falcon.HTTPError):
        raise error
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description="internal error, see the log")
