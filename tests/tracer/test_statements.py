import json

from tracer import statements
from tracer.events import CustomEvent, LlmTrace


def test_rows_are_grouped_by_the_columns_they_have_and_no_null_is_bound(decoders):
    plain = json.dumps({"name": "n"}).encode()
    timed = json.dumps({"name": "n", "duration_ms": 5}).encode()
    call = json.dumps({"provider": "p", "model": "m"}).encode()
    records = [decoders[CustomEvent].decode(text, 1) for text in [plain, timed] * 43]
    records.append(decoders[LlmTrace].decode(call, 1))
    made = list(statements.inserts(records))
    # 43 of each shape: 32 + 8 + 2 + 1
    assert len(made) == 9
    for sql, values in made:
        assert sql.count("?") == len(values)
        assert None not in values
        assert sql.endswith('ON CONFLICT ("trace_id") DO NOTHING')
    assert sum('"duration_ms"' in sql for sql, _ in made) == 4
    assert sum(sql.count("(?") for sql, _ in made) == len(records)


def test_what_a_large_row_bound_is_not_kept(decoders, store):
    """SQLite keeps the values bound last: the same row again, small, takes their place."""
    large = json.dumps({"name": "n", "metadata": {"x": "y" * 10**6}}).encode()
    record = decoders[CustomEvent].decode(large, 1)
    (first, values), (second, small) = statements.inserts([record])
    assert first == second
    assert len(str(values)) > 10**6
    assert len(str(small)) < 300
    assert store.insert([record]).stored == 1
    assert store.insert([record]).stored == 0
    (row,) = store._database.execute_sql("SELECT length(metadata) FROM custom_events").fetchall()
    assert row[0] > 10**6
