"""The Falcon application: its parts come in from outside, so a test can hand it its own."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import falcon
import msgspec

from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.ingest import Ingest
from tracer.api.openapi import OpenApi
from tracer.api.otlp import Otlp
from tracer.events import Event
from tracer.otlp import Signal

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()


def create_app(
    guard: Guard,
    health: Health,
    ingest: Mapping[type[Event], Ingest],
    otlp: Mapping[Signal, Otlp],
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
    app.add_route("/health", health)
    app.add_route("/openapi.json", OpenApi(list(ingest)))
    for kind, resource in ingest.items():
        app.add_route(str(kind.route), resource)
    app.add_route("/v1/logs", otlp[Signal.LOGS])
    app.add_route("/v1/metrics", otlp[Signal.METRICS])
    for path, other in further.items():
        app.add_route(path, other)
    return app


def _serialize_error(
    _request: falcon.Request, response: falcon.Response, error: falcon.HTTPError
) -> None:
    """404, 405 and the like in our form: one sentence."""
    response.content_type = falcon.MEDIA_JSON
    response.data = _encoder.encode({"error": error.description or error.title})


def _handle_unexpected(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """A bug of ours. The caller learns no details, the log all of them."""
    if isinstance(error, falcon.HTTPStatus | falcon.HTTPError):
        raise error
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description="internal error, see the log")
