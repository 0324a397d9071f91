"""Whether batches may go to a URL: they hold prompts, so not in clear text over the internet."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_PRIVATE_NAME: Final = re.compile(
    r"[a-z][a-z0-9_-]*"  # one label: a container, or a name of /etc/hosts
    r"|(.+\.)?(localhost|internal|flycast|local|localdomain|lan|home\.arpa|svc)",
    re.ASCII,
)
_HOST: Final = re.compile(r"[^\s.]{1,63}(\.[^\s.]{1,63})*\.?")
_CARRIER_NAT: Final = ipaddress.ip_network("100.64.0.0/10")  # also what overlay networks use


def objection(url: str) -> str | None:
    """Why nothing may be sent there, without the URL; None when it may.

    Looks at the text alone: plain http is for loopback and private addresses and names.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        if _HOST.fullmatch(host) is None:
            raise ValueError(host)
    except ValueError:
        return "TRACE_PUSH_ENDPOINT is not a URL"
    if parts.scheme == "https" or _is_private(host.rstrip(".").lower()):
        return None
    return (
        "TRACE_PUSH_ENDPOINT is http:// to a host that is neither loopback nor private: "
        "nothing is pushed, use https://"
    )


def key_objection(key: str) -> str | None:
    """Why no request can carry this key, without the key; None when one can."""
    if key.isprintable() and all(ord(character) < 256 for character in key):
        return None
    return "TRACE_PUSH_API_KEY has characters that no header may have: nothing is pushed"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _PRIVATE_NAME.fullmatch(host) is not None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local:  # where clouds keep their credentials
        return False
    return address.is_private or (address.version == 4 and address in _CARRIER_NAT)
