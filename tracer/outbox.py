"""The SQL of the push: what no remote has confirmed yet, and what came of sending it.

Contract section 6. Methods that write belong to the writer thread; the others to anyone.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any, Final

import msgspec
import peewee

from tracer import schema, statements
from tracer.errors import StoreError
from tracer.events import KINDS, Event
from tracer.rows import IdRanges, Intent, PushAttempt, UnpushedRow

MAX_REASON_CHARS: Final = 500

Counting = Callable[[], AbstractContextManager[Counter[str]]]
"""A transaction that stores what is added to the counter with it (`Store.counting`)."""

_KINDS_BY_NAME: Final = {kind.type_name: kind for kind in KINDS}


class Outbox:
    """The rows on their way to the remote, and the batch that is being sent."""

    def __init__(
        self,
        database: peewee.SqliteDatabase,
        reader: peewee.SqliteDatabase,
        counting: Counting,
    ) -> None:
        self._database = database
        self._reader = reader
        self._counting = counting
        self._unpushed_sql = {kind: statements.unpushed(kind) for kind in KINDS}

    def rows(self, among: IdRanges) -> Generator[UnpushedRow, None, None]:
        """Rows no remote has confirmed or refused, all kinds together, oldest first.

        Close the iterator before talking to the network: a half-read one pins the write-ahead log.
        """
        with self._reader.connection_context():
            yield from heapq.merge(
                *(self._rows_of(kind, first, last) for kind, (first, last) in among.items()),
                key=lambda row: row.received_at,
            )

    def _rows_of(self, kind: type[Event], first: int, last: int) -> Iterator[UnpushedRow]:
        with closing(self._reader.cursor()) as cursor:
            for row_id, received_at, *values in cursor.execute(
                self._unpushed_sql[kind], (first, last)
            ):
                yield UnpushedRow(kind, row_id, received_at, values)

    def newest(self) -> list[IdRanges]:
        """The newest unpushed row of each kind, each as a batch of its own."""
        found: list[IdRanges] = []
        with self._reader.connection_context():
            for kind in KINDS:
                query = kind.select(peewee.fn.MAX(kind.id)).where(*_unpushed(kind))
                last = query.scalar(self._reader)
                if last is not None:
                    found.append({kind: (last, last)})
        return found

    def intent(self) -> Intent | None:
        """The batch that was begun and has no answer yet."""
        with self._reader.connection_context():
            row = schema.PushIntent.select().tuples().execute(self._reader)
            for _, batch_id, sent_at, attempt, ranges, dropped in row:
                return Intent(
                    batch_id,
                    sent_at,
                    attempt,
                    {_KINDS_BY_NAME[name]: ids for name, ids in _RANGES.decode(ranges).items()},
                    _DROPPED.decode(dropped),
                )
        return None

    def begin(self, intent: Intent) -> None:
        """Notes what is about to be sent, in place of the intent before."""
        ranges = {kind.type_name: ids for kind, ids in intent.ranges.items()}
        with self._counting():
            schema.PushIntent.delete().execute(self._database)
            schema.PushIntent.insert(
                id=1,
                batch_id=intent.batch_id,
                sent_at=intent.sent_at,
                attempt=intent.attempt,
                ranges=msgspec.json.encode(ranges).decode(),
                dropped=msgspec.json.encode(intent.dropped).decode(),
            ).execute(self._database)

    def keep(self, attempt: PushAttempt) -> None:
        """Logs a try that may or may not have arrived: the same batch has to go again."""
        with self._counting():
            self._log(attempt)
            schema.PushIntent.update(attempt=attempt.attempt + 1).execute(self._database)

    def give_back(self, attempt: PushAttempt) -> None:
        """Logs a batch that the remote took nothing of: its rows go again in other batches."""
        with self._counting():
            self._log(attempt)
            schema.PushIntent.delete().execute(self._database)

    def confirm(self, intent: Intent, attempt: PushAttempt, rejected: Mapping[str, str]) -> int:
        """Notes in one transaction that a remote took a batch, except for the rows it `rejected`
        (`trace_id` → why); how many those were.

        Raises StoreError when the batch was not begun in this database.
        """
        with self._counting() as changes:
            same = schema.PushIntent.batch_id == intent.batch_id
            if not schema.PushIntent.delete().where(same).execute(self._database):
                raise StoreError("the database was opened anew, its rows may be others: not marked")
            refused = 0
            if rejected:
                for kind, ids in intent.ranges.items():
                    refused += self._reject(kind, ids, rejected)
            pushed = sum(
                kind.update(pushed_at=attempt.created_at)
                .where(*_unpushed(kind, ids))
                .execute(self._database)
                for kind, ids in intent.ranges.items()
            )
            self._log(attempt._replace(events_pushed=pushed))
            changes.update(pushed=pushed, unpushed=-pushed - refused)
            if refused:
                changes["refused"] += refused
            changes.update({f"reported.{reason}": n for reason, n in intent.dropped.items()})
        return refused

    def refuse(self, suspects: Iterable[tuple[IdRanges, str]]) -> int:
        """Sets rows aside that the remote will never take, each with the reason; how many."""
        with self._counting() as changes:
            refused = sum(
                self._refuse(kind, ids, reason)
                for ranges, reason in suspects
                for kind, ids in ranges.items()
            )
            changes.update(refused=refused, unpushed=-refused)
        return refused

    def _refuse(self, kind: type[Event], ids: tuple[int, int], reason: str) -> int:
        query = kind.update(push_error=reason[:MAX_REASON_CHARS])
        return int(query.where(*_unpushed(kind, ids)).execute(self._database))

    def _reject(self, kind: type[Event], ids: tuple[int, int], rejected: Mapping[str, str]) -> int:
        """An answer may name thousands, of this batch or not: a query for each held the writer up
        for seconds.
        """
        query = kind.select(kind.id, kind.trace_id).where(*_unpushed(kind, ids)).tuples()
        found = [
            (rejected[trace_id][:MAX_REASON_CHARS], row_id)
            for row_id, trace_id in query.execute(self._database)
            if trace_id in rejected
        ]
        with closing(self._database.cursor()) as cursor:
            cursor.executemany(statements.set_aside(kind), found)
        return len(found)

    def _log(self, attempt: PushAttempt) -> None:
        schema.PushLog.insert(attempt._asdict()).execute(self._database)


def all_of(kinds: Iterable[type[Event]]) -> IdRanges:
    """Whatever there is of these kinds."""
    return dict.fromkeys(kinds, (0, statements.LAST_ID))


def unreported(row_counts: Mapping[str, int]) -> dict[str, int]:
    """Losses that no confirmed batch has carried to the remote yet, by reason.

    Events that were accepted and not stored are counted under `lost.`, rows that were deleted
    before a remote had them under `deleted.`, with a reason that says so.
    """
    losses: Counter[str] = Counter()
    for name, count in row_counts.items():
        group, _, reason = name.partition(".")
        if group == "lost" or (group == "deleted" and reason.endswith("_unpushed")):
            losses[reason] += count
        elif group == "reported":
            losses[reason] -= count
    return {reason: count for reason, count in losses.items() if count > 0}


def _unpushed(kind: type[Event], ids: tuple[int, int] | None = None) -> list[Any]:
    """The conditions that make a row one to push."""
    among = [kind.id.between(*ids)] if ids is not None else []
    return [*among, kind.pushed_at.is_null(), kind.push_error.is_null()]


_RANGES: Final = msgspec.json.Decoder(dict[str, tuple[int, int]])
_DROPPED: Final = msgspec.json.Decoder(dict[str, int])
