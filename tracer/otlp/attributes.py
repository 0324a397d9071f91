"""What all three signals share: metadata and identity of an item."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tracer.otlp.items import Attributes, Origin

NAMESPACE: Final = uuid.UUID("0d3c5ac1-52f4-5f0e-9a37-8f1d0c4fb7de")
MAX_TEXT: Final = 4096
"""Characters kept of an attribute: content in full belongs into its own column."""

_NOISE: Final = ("telemetry.sdk.", "process.command", "process.runtime.", "process.executable.")
"""Of a resource, and the same in every item. A command line may also hold secrets."""


def metadata(attributes: Attributes, origin: Origin, **own: Any) -> dict[str, Any]:
    """The attributes, and under `otel.…` what else is known."""
    cut: dict[str, int] = {}
    kept: dict[str, Any] = {"source": "otlp"}
    for name, value in attributes.items():
        kept[name] = value
        if isinstance(value, str) and len(value) > MAX_TEXT:
            kept[name], cut[name] = value[:MAX_TEXT], len(value.encode())
    resource = {n: v for n, v in origin.resource.items() if not n.startswith(_NOISE)}
    own |= {"resource": resource, "scope": origin.scope, "truncated": cut}
    kept.update({f"otel.{name}": value for name, value in own.items() if value})
    return kept


def content_id(*parts: Any) -> str:
    """The identity of what has no id of its own: equal if and only if all of it is equal."""
    encoded = msgspec.json.encode(parts, order="deterministic").decode()
    return str(uuid.uuid5(NAMESPACE, encoded))


def agent_id(resource: Mapping[str, Any]) -> str | None:
    """The instance, where the sender says which one it is."""
    instance = resource.get("service.instance.id")
    return instance if isinstance(instance, str) and instance else None


def text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
