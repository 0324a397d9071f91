"""The application on real parts, without a server around it."""

from pathlib import Path

import pytest
from falcon import testing

from tracer.api.app import create_app
from tracer.api.body import BodyReader
from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.ingest import Ingest
from tracer.api.otlp import Otlp
from tracer.api.splitter import Splitter
from tracer.events import LlmTrace
from tracer.intake import Intake
from tracer.ledger import Ledger
from tracer.otlp import Signal, Translator
from tracer.reading import Reader


class Api:
    """A client on loopback, and the parts behind it."""

    def __init__(self, decoders, path=Path("none"), *, capacity=20, max_body_bytes=20000):
        self.ledger = Ledger()
        self.intake = Intake(self.ledger, capacity=capacity, max_bytes=10**6, batch_size=10)
        self.intake.admit()
        self.status = {"status": "ok", "uptime_seconds": 1.0, "version": "0", "secret": "x"}
        splitter, reader, translator = Splitter(capacity), BodyReader(max_body_bytes), Translator()
        otlp = {
            signal: Otlp(signal, translator, decoders, self.intake, self.ledger, reader=reader)
            for signal in Signal
        }
        ingest = {
            kind: Ingest(
                decoder,
                splitter,
                self.intake,
                self.ledger,
                reader,
                otlp=otlp[Signal.TRACES] if kind is LlmTrace else None,
            )
            for kind, decoder in decoders.items()
            if kind.route is not None
        }
        guard = Guard(api_key="k3y", allowed_hosts=("agent.internal",))
        self.app = create_app(
            guard, Health(lambda: self.status), ingest=ingest, otlp=otlp, reader=Reader(path)
        )
        self.client = testing.TestClient(self.app)

    def request(self, method, path, body=b"", headers=None, remote="127.0.0.1", host="localhost"):
        return self.client.simulate_request(
            method, path, body=body, headers=headers, remote_addr=remote, host=host
        )

    def post(self, body, path="/v1/traces", media="application/json", **headers):
        sent = {"Content-Type": media} if media else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, sent)


@pytest.fixture
def api(decoders, tmp_path):
    return Api(decoders, tmp_path / "trace.db")
