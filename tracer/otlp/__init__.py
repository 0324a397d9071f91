"""OpenTelemetry's wire format to our events. Pure, but for what `Translator` remembers.

`items` has the plain form of a span, a log record and a data point; `read_json` and
`read_protobuf` make it of a body; `spans`, `logs` and `metrics` make events of it.
"""

from tracer.otlp.items import Signal
from tracer.otlp.translator import Translator

__all__ = ["Signal", "Translator"]
