"""GET /metrics (contract section 5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import falcon

if TYPE_CHECKING:
    from tracer.exposition import Exposition, Readings


class Metrics:
    """Our state as Prometheus reads it."""

    def __init__(self, read: Callable[[], "Readings"]) -> None:
        self._read = read
        self._exposition: Exposition | None = None

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        if self._exposition is None:
            from tracer.exposition import Exposition

            self._exposition = Exposition(self._read)
        response.data, response.content_type = self._exposition.render(request.accept)
        response.cache_control = ["no-store"]
