"""Decoders as the service has them by default."""

from tests.support.prices import shipped_prices
from tracer.decoder import EventDecoder


def decoder_of(kind, **changes):
    defaults = {
        "agent_id": "agent-1",
        "max_text_bytes": 16384,
        "prices": shipped_prices(),
        "is_redacting": True,
    }
    return EventDecoder(kind, **defaults | changes)
