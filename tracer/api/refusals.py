"""How a refusal is answered, whatever form the events came in (contract section 3)."""

from typing import Final

import falcon

from tracer.ledger import Rejection

RETRY_AFTER_S: Final = "1"

_STATUSES: Final = {
    Rejection.UNSUPPORTED_TYPE: falcon.HTTP_415,
    Rejection.UNSUPPORTED_ENCODING: falcon.HTTP_415,
    Rejection.TOO_LARGE: falcon.HTTP_413,
    Rejection.QUEUE_FULL: falcon.HTTP_429,
    Rejection.UNAVAILABLE: falcon.HTTP_503,
    Rejection.UNAUTHORIZED: falcon.HTTP_401,
    Rejection.FORBIDDEN: falcon.HTTP_403,
}
"""By reason; all others are the sender's mistake, 400. Exporters send again after 429 and 503."""


def status(response: falcon.Response, reason: Rejection) -> str:
    """The status line. Tells the client when to come again, where that helps."""
    if reason in (Rejection.QUEUE_FULL, Rejection.UNAVAILABLE):
        response.set_header("Retry-After", RETRY_AFTER_S)
    return _STATUSES.get(reason, falcon.HTTP_400)
