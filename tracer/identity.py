"""The identity of an event: `trace_id`, a UUID, unique per table (contract section 3)."""

import os
import re
import time
import uuid
from typing import Final, NamedTuple

NAMESPACE: Final = uuid.UUID("6f4d3b52-8a0e-5c61-9d1f-0c7a4e2b9f38")
"""Ours alone. Changing it would make every retry across an upgrade a new event."""

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.I | re.A)
_SPAN_ID = re.compile(r"[0-9a-f]{16}", re.I | re.A)


class Identity(NamedTuple):
    """`otel_trace_id` is the id as the agent sent it, where ours had to be derived from it."""

    trace_id: str
    otel_trace_id: str | None


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562): sorts by time, so an index on it grows at its end."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    chance = os.urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) & 3]
    return f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def identify(kind: str, sent: str | None, span_id: str | None) -> Identity:
    """The identity of an event that came with `trace_id` = `sent` and, perhaps, a span id.

    A trace id is shared by the spans of a trace, so with a span id the pair is the identity. The
    kind is part of what is hashed: a failed call and the error it caused come with the same pair,
    and a remote that goes by `trace_id` alone must not take one for the other.
    Hexadecimal ids are compared without case and dashes, as OpenTelemetry exporters differ there.
    """
    if not sent:
        return Identity(uuid7(), None)
    is_uuid = _UUID.fullmatch(sent) is not None
    if is_uuid and not span_id:
        return Identity(str(uuid.UUID(sent)), None)
    name = sent.replace("-", "").lower() if is_uuid else sent
    if span_id:
        span = span_id.lower() if _SPAN_ID.fullmatch(span_id) else span_id
        name = f"{len(name)}:{name}:{span}"  # the length keeps "a:b" + "c" from "a" + "b:c"
    return Identity(str(uuid.uuid5(NAMESPACE, f"{kind}:{name}")), sent)
