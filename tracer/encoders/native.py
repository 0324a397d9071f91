"""The JSON format of a pushed batch (contract section 6)."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from tracer.encoders.batch import Batch, Builder
from tracer.events import KINDS, Event
from tracer.rows import UnpushedRow

SCHEMA_VERSION: Final = 1
LANES: Final = (KINDS,)
"""Kinds that share a batch: here all."""

_NO_ID: Final = str(uuid.UUID(int=0))
"""Stands in the body until all rows are known."""

_END: Final = b"]}"

_encoder = msgspec.json.Encoder()


def encode_batch(
    rows: Iterable[UnpushedRow],
    *,
    agent_id: str,
    sent_at: int,
    dropped: Mapping[str, int],
    max_bytes: int,
) -> Batch | None:
    """As many of the rows as fit, oldest first; at least one, however large; None without any.

    Stops reading as soon as the batch is full. The id follows from the rows: the same rows sent
    again, also after a crash, have the same `batch_id`.
    """
    head = {
        "schema_version": SCHEMA_VERSION,
        "batch_id": _NO_ID,
        "agent_id": agent_id,
        "sent_at": sent_at,
        "dropped": dict(dropped),
    }
    body = bytearray(_encoder.encode(head)[:-1] + b',"events":[')
    id_at = body.index(_NO_ID.encode())
    batch = Builder(agent_id)
    has_more = False
    for row in rows:
        event = _encode_event(row)
        size = len(body) + len(event) + len(_END)
        has_more = batch.is_full or (bool(batch.rows) and size > max_bytes)
        if has_more:
            break
        body += event
        body += b","
        batch.add(row)
    if not batch.rows:
        return None
    body[-1:] = _END
    body[id_at : id_at + len(_NO_ID)] = batch.id().encode()
    return Batch(batch.id(), body, batch.rows, has_more)


def partial_failure(batch: Batch, answer: bytes) -> str | None:  # noqa: ARG001
    """Here the answer names the rows: see `tracer.answer`."""
    return None


def _struct_of(kind: type[Event]) -> Any:
    """A struct of the pushed columns: faster to encode than a dict, and NULLs stay out."""
    columns = [
        (name, Raw | None if name == "metadata" else Any, None) for name in kind.stored_columns()
    ]
    return msgspec.defstruct(kind.__name__, columns, omit_defaults=True, gc=False)


_STRUCTS: Final = {kind: _struct_of(kind) for kind in KINDS}
_METADATA: Final = {kind: kind.stored_columns().index("metadata") for kind in KINDS}
_PREFIXES: Final = {kind: b'{"type":"%s","data":' % kind.type_name.encode() for kind in KINDS}


def _encode_event(row: UnpushedRow) -> bytes:
    values, place = row.values, _METADATA[row.kind]
    if values[place] is not None:
        values[place] = Raw(values[place].encode())
    return _PREFIXES[row.kind] + _encoder.encode(_STRUCTS[row.kind](*values)) + b"}"
