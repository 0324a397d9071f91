"""The WSGI application, put together. Importing this starts nothing: see `gunicorn.conf.py`."""

from config.settings import current
from tracer.api import debug
from tracer.api.app import create_app
from tracer.api.body import BodyReader
from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.ingest import Ingest
from tracer.api.metrics import Metrics
from tracer.api.otlp import Otlp
from tracer.api.splitter import Splitter
from tracer.events import LlmTrace
from tracer.otlp import Signal, Translator
from tracer.reading import Reader
from tracer.service import Service

settings = current()
service = Service(settings)
splitter = Splitter(settings.queue_capacity)
reader = BodyReader(settings.max_body_bytes, service.intake.drained)
translator = Translator()
otlp = {
    signal: Otlp(
        signal, translator, service.decoders, service.intake, service.ledger, reader=reader
    )
    for signal in Signal
}
ingest = {
    kind: Ingest(
        decoder,
        splitter,
        service.intake,
        service.ledger,
        reader,
        otlp=otlp[Signal.TRACES] if kind is LlmTrace else None,
    )
    for kind, decoder in service.decoders.items()
    if kind.route is not None
}
application = create_app(
    Guard(api_key=settings.api_key, allowed_hosts=settings.allowed_hosts),
    Health(service.health),
    ingest=ingest,
    otlp=otlp,
    reader=Reader(settings.db_path),
    further={
        "/metrics": Metrics(service.readings),
        **debug.routes(service.variables, service.profiler, service.heap),
    },
)
