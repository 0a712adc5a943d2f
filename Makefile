# One command each, on a fresh checkout with Python, make, git and a network: every target makes .venv when it needs it.
#
#   make demo    record, replay and compare on this machine, without a model
#   make test    what must always hold; minutes at most
#   make fuzz    its searches with thousands of cases: damaged files, every protocol with every fault; an hour
#   make lowest  the same with the lowest versions that pyproject.toml admits
#   make pythons the same on every other Python of this machine, from 3.11 on
#   make live    the same claims against a real vLLM, which it installs and starts itself
#   make live-long  the same, with tests that start a vLLM for each of them
#   make lint    ruff, mypy --strict, import-linter
#   make bench   how fast, how small
#   make docs    the documentation as a site in build/site; broken links fail
#   make reference   docs/cli.md from the commands themselves
#   make picture     docs/assets/terminal.svg from real commands
#   make clients     what SDKs do after each fault, the table in docs/faults.md
#   make screenshots docs/assets/inspector-*.png from the inspector in a Chromium
#
# Each of them takes PYTHON=python3.13 (a name or a path), which gets an environment of its own, .venv-3.13.
# TESTS="tests/core -x" passes arguments to pytest; WORKERS=0 runs the tests in one process instead of one per core.

PYTHON ?= python3
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifeq ($(VENV),.venv-)
$(error PYTHON=$(PYTHON) cannot be run: name a Python from 3.11 on, or give its path)
endif
endif
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
TESTS ?=
WORKERS ?= auto
FUZZED = $(shell grep -lE 'import (.*, )?fuzz\b|from hypothesis' -r tests --include='test_*.py')
PYTEST = -m pytest --numprocesses=$(WORKERS) --dist=worksteal $(TESTS)

# Set in many container images. Each of the thousand processes that the tests start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test fuzz lowest pythons live live-long lint bench docs reference picture clients screenshots
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/runs
	$(BIN)/replayproxy demo

test: $(VENV)/tests
	$(BIN)/python $(PYTEST)

fuzz: $(VENV)/tests
	FUZZ_CASES=2000 $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal --timeout=3600 $(FUZZED)

lowest: .venv-lowest/tests
	.venv-lowest/bin/python $(PYTEST)

pythons:
	@.ci/pythons "$(PYTHON)" | while read -r python; do \
	  $(MAKE) --no-print-directory test PYTHON="$$python" TESTS="$(TESTS)" < /dev/null || exit 1; done

live: $(VENV)/tests
	$(BIN)/python -m pytest tests/live -m "live and not long" --timeout=3600

live-long: $(VENV)/tests
	$(BIN)/python -m pytest tests/live -m live --timeout=3600

lint: $(VENV)/tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/tests
	$(BIN)/python -m tests.bench

docs: .venv-docs/builds
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

reference: $(VENV)/runs
	$(BIN)/python -m tools.reference

picture: $(VENV)/runs
	$(BIN)/python -m tools.picture

clients: $(VENV)/tests
	$(BIN)/python -m tools.fault_table
screenshots: $(VENV)/runs
	$(BIN)/python -m tools.inspector_pictures

# What runs replayproxy. The lock holds the build backend too, so that nothing is resolved behind its back.
$(VENV)/runs: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

# What tests and checks it.
$(VENV)/tests: $(VENV)/runs requirements-dev.lock
	$(PIP) install -r requirements-dev.lock
	touch $@

# What builds the documentation: apart, because its packages are not needed for anything else.
.venv-docs/builds: requirements-docs.lock
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip --quiet --disable-pip-version-check install -r requirements-docs.lock
	touch $@

# The lower bound of each direct requirement, and the newest of what these require in turn. New each time, because pip
# leaves what is installed. The editable installation resolves the bounds of pyproject.toml against what is there.
.venv-lowest/tests: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python tests/lowest.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip --quiet --disable-pip-version-check install -r .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip --quiet --disable-pip-version-check install --no-build-isolation --editable '.[test]'
	touch $@
