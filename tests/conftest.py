"""Fixtures that more than one room needs."""

import hypothesis
import pytest

from tests.support.prices import shipped_prices
from tests.support.remote import Remote
from tracer.decoder import EventDecoder
from tracer.events import KINDS
from tracer.store import Store

# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture
def remote():
    with Remote() as running:
        yield running


@pytest.fixture
def store(tmp_path):
    """An open store on a new file."""
    opened = Store(tmp_path / "trace.db", synchronous="full")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def decoders():
    """Kind → decoder, with the default limits."""
    return {
        kind: EventDecoder(
            kind,
            agent_id="agent-1",
            max_text_bytes=16384,
            prices=shipped_prices(),
            is_redacting=True,
        )
        for kind in KINDS
    }
