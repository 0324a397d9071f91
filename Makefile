# `make` prints the targets. Everything lives in .venv and in this folder.

PYTHON ?= python3
BIN := .venv/bin
export TRACE_DB_PATH ?= $(CURDIR)/openclaw-trace.db

help:  ## print this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

run: .venv/runtime  ## set everything up and run the sidecar on a local database
	@echo "openclaw-trace: database $(TRACE_DB_PATH)" >&2
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec gunicorn

test: .venv/dev  ## set everything up and run the tests
	$(BIN)/python -m pytest

chaos: .venv/dev  ## the fault tests at full length, each with its figure; as root with strace for all of them
	-@$(BIN)/pip install --quiet --disable-pip-version-check libfaketime==3.0.1
	CHAOS=long $(BIN)/python -m pytest -m fault -n 0 -v

check: .venv/dev  ## format, lint, types, floors, all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

fix: .venv/dev  ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/dev  ## write the generated tables into README.md and config/trace.env.example
	$(BIN)/python -m tests.docs

e2e-openclaw: .venv/dev  ## a real OpenClaw gateway from npm beside a real sidecar (downloads 1 GB)
	$(BIN)/python -m tests.e2e.openclaw

report: .venv/dev  ## the report shown in README.md, from a real run
	$(BIN)/python -m tests.report

bench: .venv/dev  ## speed and memory beside a bare Falcon application, then with 1,000,000 rows (2 GB)
	$(BIN)/python -m bench
	$(BIN)/python -m bench.scale

bench-scale: .venv/dev  ## reading back from 1,000,000 calls instead of 100,000
	$(BIN)/python -m bench.reading

fuzz: .venv/dev  ## the fuzz tests, for minutes instead of seconds
	FUZZ_EXAMPLES=3000 $(BIN)/python -m pytest -n 0 tests/process/test_fuzz.py

prices: .venv/dev  ## the newest model prices into config/prices.json
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade-package genai-prices --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m tests.prices
lock: .venv/dev  ## resolve the bounds of pyproject.toml anew
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements-dev.lock

clean:  ## remove what the other targets made, not the database
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@command -v $(PYTHON) >/dev/null || { echo "openclaw-trace needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "openclaw-trace needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V): install a newer one and run make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "this Python has no venv module: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/runtime: .venv/bin/pip requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev: .venv/bin/pip requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ .venv/runtime

.PHONY: help run test chaos check fix docs report bench bench-scale e2e-openclaw fuzz prices lock clean
