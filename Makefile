# One command each, on a fresh checkout with Python, make, git and a network: every target makes .venv when it needs it.
#
#   make demo    record, replay and compare on this machine, without a model
#   make test    what must always hold; minutes at most
#   make live    the same claims against a real vLLM, which it installs and starts itself
#   make lint    ruff, mypy --strict, import-linter
#   make bench   how fast, how small

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test live lint bench
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/runs
	$(BIN)/replayproxy demo

test: $(VENV)/tests
	$(BIN)/python -m pytest

live: $(VENV)/tests
	$(BIN)/python -m pytest tests/live -m live --timeout=3600

lint: $(VENV)/tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/tests
	$(BIN)/python -m tests.bench

# What runs replayproxy. The lock holds the build backend too, so that nothing is resolved behind its back.
$(VENV)/runs: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

# What tests and checks it.
$(VENV)/tests: $(VENV)/runs requirements-dev.lock
	$(PIP) install -r requirements-dev.lock
	touch $@
