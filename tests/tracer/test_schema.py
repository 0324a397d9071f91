"""The schema as released, kept as text: a change of the models needs a new version and a step."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tracer import schema
from tracer.store import Store

RELEASED = Path(__file__).parent.parent / "schemas"


def dump(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        statements = [
            row[0]
            for row in connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL "
                "AND name NOT LIKE 'sqlite_%' ORDER BY name"
            )
        ]
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return owner, version, ";\n".join(statements) + ";\n"


def rows_of(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM custom_events").fetchall()


def test_a_fresh_database_has_the_released_schema_of_its_version(store):
    owner, version, statements = dump(store.path)
    assert owner == schema.APPLICATION_ID
    assert version == schema.VERSION
    assert statements == (RELEASED / f"v{version}.sql").read_text()


def test_there_is_a_step_from_every_older_version():
    assert set(schema._STEPS) == set(range(1, schema.VERSION))


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_file_of_an_older_version_becomes_like_a_fresh_one_and_keeps_its_rows(
    store, tmp_path, version
):
    path = tmp_path / f"v{version}.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"v{version}.sql").read_text())
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(
            "INSERT INTO custom_events (trace_id, created_at, received_at, name) VALUES ('a', 1, 2, 'n')"
        )
        connection.commit()
    older = Store(path, synchronous="full")
    older.open()
    try:
        assert dump(path) == dump(store.path)
        assert [row["trace_id"] for row in rows_of(path)] == ["a"]
    finally:
        older.close()
