"""Who gets in (contract section 7): callers on loopback that are no web page, or a token."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import falcon

from tracer.errors import EventError
from tracer.ledger import Rejection

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PROXY_HEADERS: Final = frozenset({"HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_VIA"})
_OWN_SITE: Final = ("none", "same-origin")


class Guard:
    """Falcon middleware. Sets `request.context.is_trusted`: some resources tell strangers less.

    Being on loopback is not enough: a page in a browser on this machine, or a name rebound to
    127.0.0.1, arrives from there as well, and so does what a reverse proxy forwards.
    """

    def __init__(self, *, api_key: str, allowed_hosts: tuple[str, ...]) -> None:
        self._hosts = _LOOPBACK_NAMES | frozenset(allowed_hosts)
        self._key_digest = hashlib.sha256(api_key.encode()).digest() if api_key else None

    def process_resource(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: Any,
        _params: dict[str, Any],
    ) -> None:
        """Runs before every responder; ends the request when the caller may not have the answer."""
        try:
            _check_origin(request.env)
            request.context.is_trusted = True
            if not self._is_local(request) and not self._has_token(request):
                request.context.is_trusted = False
                if not getattr(resource, "is_public", False):
                    raise EventError(
                        Rejection.UNAUTHORIZED,
                        "send Authorization: Bearer with the value of TRACE_API_KEY, "
                        "or call from this machine by a loopback name",
                    )
        except EventError as error:
            _refuse(request, response, resource, error)

    def _is_local(self, request: falcon.Request) -> bool:
        """On loopback, by a loopback name, not through a proxy. Raises for a name not allowed."""
        headers = request.env
        if not _is_loopback(headers.get("REMOTE_ADDR", "")):
            return False
        if not _PROXY_HEADERS.isdisjoint(headers):
            return False
        host = headers.get("HTTP_HOST", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in self._hosts and not self._has_token(request):
            raise EventError(
                Rejection.FORBIDDEN,
                f"the Host {host[:80]!r} is no loopback name and not in TRACE_ALLOWED_HOSTS",
            )
        return True

    def _has_token(self, request: falcon.Request) -> bool:
        scheme, _, token = (request.get_header("Authorization") or "").partition(" ")
        if self._key_digest is None or scheme.lower() != "bearer":
            return False
        digest = hashlib.sha256(token.strip().encode(errors="replace")).digest()
        return hmac.compare_digest(digest, self._key_digest)


def _check_origin(headers: Mapping[str, Any]) -> None:
    """Refuses web pages wherever they run. Node's fetch sends neither header."""
    site = headers.get("HTTP_SEC_FETCH_SITE")
    if "HTTP_ORIGIN" in headers or (site and site not in _OWN_SITE):
        raise EventError(Rejection.FORBIDDEN, "requests of web pages are refused")


def _refuse(
    request: falcon.Request, response: falcon.Response, resource: Any, error: EventError
) -> None:
    """Ends the request; where events were to come, that is counted and answered in their form."""
    is_unauthorized = error.reason is Rejection.UNAUTHORIZED
    if is_unauthorized:
        response.set_header("WWW-Authenticate", "Bearer")
    if request.method == "POST" and hasattr(resource, "refuse"):
        resource.refuse(response, Rejection(error.reason), str(error))
    else:
        response.status = falcon.HTTP_401 if is_unauthorized else falcon.HTTP_403
        response.media = {"error": str(error)}
    response.complete = True


def _is_loopback(address: str) -> bool:
    if address in ("127.0.0.1", "::1"):
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
