import json

import pytest

from tests.support.prices import SHIPPED, shipped_prices
from tracer import cli
from tracer.cli import database, repricing
from tracer.cli.repricing import Outcome, reprice
from tracer.events import LlmTrace
from tracer.pricing import Prices
from tracer.quality import Quality

SONNET = {"provider": "anthropic", "model": "claude-sonnet-4-5", "prompt_tokens": 10_000}


@pytest.fixture
def stored(store, decoders):
    """Stores calls, and then forgets the costs that were computed; what they were."""

    def add(*bodies):
        decode = decoders[LlmTrace].decode
        store.insert([decode(json.dumps(body).encode(), 1_795_000_000_000) for body in bodies])
        known = costs(store)
        forget(store)
        return known

    return add


def forget(store):
    with database.writing(store.path) as connection:
        connection.execute(
            "UPDATE llm_traces SET cost_usd = NULL, cost_source = NULL, price_version = NULL "
            "WHERE cost_source = 'computed'"
        )


def costs(store):
    return database.read(
        store.path, "SELECT cost_usd, cost_source, price_version FROM llm_traces ORDER BY id"
    )


def run(store, prices=None, *, every_computed=False, progress=lambda *_: None):
    outcome = Outcome()
    reprice(
        store.path,
        prices or shipped_prices(),
        outcome,
        every_computed=every_computed,
        is_dry_run=False,
        progress=progress,
    )
    return outcome


def test_a_cost_is_the_one_that_ingest_would_have_computed(store, stored):
    cached = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 9000}
    created = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 3000}
    known = stored(
        SONNET | {"completion_tokens": 300, "cache_read_tokens": 8000},
        SONNET | {"response_model": "claude-haiku-4-5"},
        SONNET | {"cost_usd": 0.5},
        SONNET | {"operation": "invoke_agent"},
        {"provider": "anthropic", "model": "claude-sonnet-4-5"},
        {k: v for k, v in SONNET.items() if k != "prompt_tokens"}
        | {"usage": cached | {"cache_creation_input_tokens": 3100, "cache_creation": created}},
    )
    assert sum(source == "computed" for _, source, _ in known) == 3
    outcome = run(store)
    assert costs(store) == known
    assert outcome.changed == 3
    assert outcome.added_usd == pytest.approx(sum(c for c, s, _ in known if s == "computed"))


def test_ended_in_the_middle_it_goes_on_with_what_is_left(store, stored, monkeypatch):
    monkeypatch.setattr(repricing, "IDS_PER_BATCH", 4)
    known = stored(*[SONNET] * 10)

    def end_after_the_second(done, whole):
        assert whole == 10
        if done == 8:
            raise KeyboardInterrupt

    outcome = Outcome()
    with pytest.raises(KeyboardInterrupt):
        reprice(
            store.path,
            shipped_prices(),
            outcome,
            every_computed=False,
            is_dry_run=False,
            progress=end_after_the_second,
        )
    assert outcome.changed == 8
    assert sum(cost is not None for cost, _, _ in costs(store)) == 8
    assert run(store).changed == 2
    assert costs(store) == known


@pytest.mark.parametrize(("usd", "source"), [(9, "agent"), (None, "agent"), (9, "computed")])
def test_a_row_that_changed_since_it_was_read_is_left_alone(
    store, stored, monkeypatch, usd, source
):
    stored(SONNET)
    write = repricing._write

    def after_another(path, changes):
        with database.writing(path) as connection:
            connection.execute("UPDATE llm_traces SET cost_usd = ?, cost_source = ?", (usd, source))
        return write(path, changes)

    monkeypatch.setattr(repricing, "_write", after_another)
    assert run(store).changed == 0
    assert costs(store) == [(usd, source, None)]


def test_a_model_that_lost_its_price_keeps_its_cost(store, stored, tmp_path):
    known = stored(SONNET)
    run(store)
    (tmp_path / "empty.json").write_text('{"version": "none", "providers": {}}')
    empty = Prices(tmp_path / "empty.json", None, Quality())
    outcome = run(store, empty, every_computed=True)
    assert (outcome.changed, dict(outcome.without_price)) == (0, {})
    assert costs(store) == known
    assert SHIPPED.exists()


def test_the_writer_gets_its_turn(store, stored, decoders, monkeypatch):
    """The pause after a transaction is at least as long as the transaction."""
    monkeypatch.setattr(repricing, "IDS_PER_BATCH", 2)
    stored(*[SONNET] * 6)
    pauses = []
    monkeypatch.setattr(repricing.time, "sleep", pauses.append)
    run(
        store,
        progress=lambda *_: store.insert(
            [decoders[LlmTrace].decode(b'{"provider":"p","model":"m"}', 1)]
        ),
    )
    assert len(pauses) == 3
    assert min(pauses) >= repricing.LEAST_PAUSE_S
    assert store.row_counts["stored"] == 9


def test_in_json_a_failure_is_one_object(store, stored, monkeypatch, capsys):
    stored(SONNET)
    monkeypatch.setenv("TRACE_DB_PATH", str(store.path))
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    with database.writing(store.path):
        assert cli.main(["reprice", "--json"]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert "locked" in json.loads(line)["error"]
    assert cli.main(["reprice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 1
