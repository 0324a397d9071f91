"""GET /health (contract section 5)."""

from collections.abc import Callable
from typing import Any

import falcon


class Health:
    """200 when all is well, 503 when degraded. Strangers get the status and the uptime only."""

    is_public = True

    def __init__(self, report: Callable[[], dict[str, Any]]) -> None:
        self._report = report

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        report = self._report()
        if report["status"] != "ok":
            response.status = falcon.HTTP_503
        if not request.context.is_trusted:
            report = {name: report[name] for name in ("status", "uptime_seconds")}
        response.media = report
        response.cache_control = ["no-store"]

    on_head = on_get
