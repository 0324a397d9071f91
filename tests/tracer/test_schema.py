"""The schema as released, kept as text: a change of the models needs a new version and a step."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.rows import BODIES, fill
from tracer import schema
from tracer.errors import StoreError
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


def write_released(path, version):
    """A database as that version left it: its schema and three rows in each table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = 2")
        connection.execute("PRAGMA journal_mode = wal")
        connection.executescript((RELEASED / f"v{version}.sql").read_text())
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        for table in tables(connection):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            places = ", ".join("?" * len(columns))
            for number in range(1, 4):
                row = [number if "INT" in c[2] else f"{c[1]}-{number}" for c in columns]
                connection.execute(f"INSERT INTO {table} VALUES ({places})", row)
        connection.commit()


def tables(connection):
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows]


def contents(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]
            for table in tables(connection)
        }


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_a_database_of_every_released_version_is_migrated_with_its_rows(
    tmp_path, store, decoders, version
):
    path = tmp_path / "old.db"
    write_released(path, version)
    before = contents(path)
    migrated = Store(path, synchronous="full")
    migrated.open()
    migrated.close()
    assert dump(path) == dump(store.path)
    after = contents(path)
    for table, rows in before.items():
        assert len(after[table]) == len(rows) == 3
        for old, new in zip(rows, after[table], strict=True):
            assert old.items() <= new.items()
    migrated.open()
    for kind in BODIES:
        fill(migrated, decoders, kind, 1, 1000)
    migrated.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    write_released(path, 1)
    before = contents(path)
    step = schema._STEPS[1]

    def fail(database):
        step(database)
        raise OSError(28, "full")

    monkeypatch.setitem(schema._STEPS, 1, fail)
    store = Store(path, synchronous="full")
    with pytest.raises(StoreError):
        store.open()
    store.close()
    assert contents(path) == before
    assert dump(path)[1] == 1
