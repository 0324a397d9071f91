"""Rows put straight into a database, as the writer would: for tests and benches of reading."""

import sqlite3
from contextlib import closing

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
