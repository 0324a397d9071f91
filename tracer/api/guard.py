"""Who gets in (contract section 7): callers on loopback that are no web page, or a token."""

import hashlib
import hmac
import ipaddress
from typing import Any, Final

import falcon

from tracer.api.ingest import Ingest
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
            self._check_origin(request)
            request.context.is_trusted = True
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


def _is_loopback(address: str) -> bool:
    if address in ("127.0.0.1", "::1"):
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
