"""What all formats share: a batch, its identity, how many rows it may have."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from tracer.events import Event
from tracer.rows import UnpushedRow

MAX_BATCH_EVENTS: Final = 1000
"""Marking a batch is one transaction of the writer: a larger one would hold up ingest."""


class Batch(NamedTuple):
    """A body ready to send, its rows in order, and whether rows are left that did not fit.

    `path` is added to that of the endpoint.
    """

    batch_id: str
    body: bytes | bytearray
    rows: list[tuple[type[Event], int]]
    has_more: bool
    path: str = ""
    content_type: str = "application/json"


class Encoder(Protocol):
    """A format; its modules in this folder are such."""

    @property
    def LANES(self) -> Sequence[tuple[type[Event], ...]]:  # noqa: N802
        """Kinds that share a batch, in the order in which they are sent."""

    def encode_batch(
        self,
        rows: Iterable[UnpushedRow],
        *,
        agent_id: str,
        sent_at: int,
        dropped: Mapping[str, int],
        max_bytes: int,
    ) -> Batch | None:
        """As many of the rows as fit, oldest first; at least one, however large; None without any.

        All of one lane, so given rows of several it takes those of the first one's.
        """

    def partial_failure(self, batch: Batch, answer: bytes) -> str | None:
        """What a good answer says of rows it does not name, in words."""


class Builder:
    """Collects the rows of a batch. Its id follows from them: the same rows sent again, also after
    a crash, have the same.
    """

    def __init__(self, agent_id: str) -> None:
        self.rows: list[tuple[type[Event], int]] = []
        self._digest = hashlib.sha256(agent_id.encode())

    @property
    def is_full(self) -> bool:
        """Whether it has as many rows as it may have."""
        return len(self.rows) >= MAX_BATCH_EVENTS

    def add(self, row: UnpushedRow) -> None:
        """With the kind: one id may name a call and the error it caused."""
        self.rows.append((row.kind, row.id))
        self._digest.update(f"{row.kind.type_name}:{row.values[0]}".encode())

    def id(self) -> str:
        """A UUID."""
        return str(uuid.UUID(bytes=self._digest.digest()[:16], version=5))
