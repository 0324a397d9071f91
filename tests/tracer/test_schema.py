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


def test_a_fresh_database_has_the_released_schema_of_its_version(store):
    owner, version, statements = dump(store.path)
    assert owner == schema.APPLICATION_ID
    assert version == schema.VERSION
    assert statements == (RELEASED / f"v{version}.sql").read_text()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_older_file_is_migrated_to_the_same_schema(tmp_path, version):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"v{version}.sql").read_text())
        connection.execute("INSERT INTO row_counts VALUES ('stored', 7)")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    migrated = Store(path, synchronous="full")
    migrated.open()
    try:
        assert dump(path)[1:] == (
            schema.VERSION,
            (RELEASED / f"v{schema.VERSION}.sql").read_text(),
        )
        assert migrated.row_counts == {"stored": 7}
        migrated.remember("a", "1")
        migrated.remember("a", "2")
        assert (migrated.recall("a"), migrated.recall("b")) == ("2", None)
    finally:
        migrated.close()


def test_there_is_a_step_from_every_older_version():
    assert set(schema._STEPS) == set(range(1, schema.VERSION))
