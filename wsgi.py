"""The WSGI application, put together. Importing this starts nothing: see `gunicorn.conf.py`."""

from config.settings import current
from tracer.api.app import create_app
from tracer.api.body import BodyReader, Splitter
from tracer.api.guard import Guard
from tracer.api.health import Health
from tracer.api.ingest import Ingest
from tracer.reading import Reader
from tracer.service import Service

settings = current()
service = Service(settings)
splitter = Splitter(settings.queue_capacity)
reader = BodyReader(settings.max_body_bytes)
application = create_app(
    Guard(api_key=settings.api_key, allowed_hosts=settings.allowed_hosts),
    Health(service.health),
    {
        kind: Ingest(
            decoder,
            splitter,
            service.intake,
            service.ledger,
            reader,
        )
        for kind, decoder in service.decoders.items()
        if kind.route is not None
    },
    Reader(settings.db_path),
)
