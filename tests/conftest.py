"""Fixtures that more than one room needs."""

import json

import hypothesis
import pytest

from tests.support.decoders import decoder_of
from tests.support.remote import Remote
from tracer.events import KINDS
from tracer.store import Store

# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
FIGURES = "figures"


@pytest.fixture
def figure(record_property):
    """Keeps what a fault test measured; shown after the run."""
    return lambda **values: record_property(FIGURES, values)


def pytest_terminal_summary(terminalreporter):
    """One JSON line for each fault."""
    lines = [
        json.dumps({"fault": report.nodeid.partition("::test_")[2], **values})
        for report in terminalreporter.stats.get("passed", [])
        for name, values in report.user_properties
        if name == FIGURES
    ]
    if lines:
        terminalreporter.section("figures of the fault tests")
        terminalreporter.write_line("\n".join(lines))


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
    return {kind: decoder_of(kind) for kind in KINDS}
