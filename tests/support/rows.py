"""Rows in a store, and what an independent reader counts of them."""

import json
import sqlite3
from contextlib import closing

from tracer.events import KINDS, CustomEvent, ErrorEvent, LlmTrace
from tracer.rows import Intent, PushAttempt

BODIES = {
    LlmTrace: {"provider": "p", "model": "m"},
    ErrorEvent: {"error_type": "crash", "message": "m"},
    CustomEvent: {"name": "n"},
}


def fill(store, decoders, kind, count, received_at, *, size=0):
    """Stores rows that arrived 1 ms after each other, each with `size` bytes of text."""
    body = BODIES[kind] | ({"padding": "x" * size} if size else {})
    text = json.dumps(body).encode()
    for start in range(0, count, 50):
        numbers = range(start, min(count, start + 50))
        store.insert([decoders[kind].decode(text, received_at + n) for n in numbers])


def mark_pushed(store, kind, first, last, dropped=None):
    """As if a remote had confirmed these rows."""
    intent = Intent("b", 1, 1, {kind: (first, last)}, dropped or {})
    store.outbox.begin(intent)
    store.outbox.confirm(intent, PushAttempt("b", 1, "success", 200, 1, 1, 1, 1, None), {})


def query(store, sql):
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def deleted(store):
    """Reason → rows, as counted."""
    return {
        name.removeprefix("deleted."): value
        for name, value in store.row_counts.items()
        if name.startswith("deleted.")
    }


def assert_counted(store):
    """The persistent counters say what the tables hold, and add up."""
    kept = {"pushed": 0, "unpushed": 0, "refused": 0}
    for kind in KINDS:
        pushed, refused, total = query(
            store,
            "SELECT count(pushed_at), count(push_error), count(*) FROM " + kind._meta.table_name,
        )[0]
        kept["pushed"] += pushed
        kept["refused"] += refused
        kept["unpushed"] += total - pushed - refused
    stored = dict(query(store, "SELECT name, value FROM row_counts"))
    assert stored == dict(store.row_counts)
    for name, count in kept.items():
        assert stored.get(name, 0) == count
    assert stored.get("stored", 0) == sum(kept.values()) + sum(deleted(store).values())
    by_table = sum(
        value
        for name, value in stored.items()
        if name.startswith("deleted_by_table.") and not name.endswith("push_log.old")
    )
    assert by_table == sum(deleted(store).values())


DEFAULTS = {
    "llm_traces": {"provider": "p", "model": "m", "operation": "chat", "status": "success"},
    "error_events": {"error_type": "llm_error", "message": "x", "category": "other"},
    "custom_events": {"name": "n"},
}


def insert(path, table, rows):
    """`rows` are dictionaries; ids and identities are made up, `created_at` is 1000 by default."""
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        (number,) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        for place, row in enumerate(rows, number + 1):
            values = DEFAULTS.get(table, {}) | {"created_at": 1000, "received_at": 1} | row
            values.setdefault("trace_id", f"{table}-{place}")
            names, places = ", ".join(values), ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO {table} ({names}) VALUES ({places})", list(values.values())
            )
