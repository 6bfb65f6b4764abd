# Everything happens in .venv, from the locked versions; a bare machine needs Python >= 3.11,
# pip and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UP_FLAGS ?=

.PHONY: help up node test flights bench lint types check lock clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; say make PYTHON=python3.x")'
	@echo "setting up .venv (once)" >&2
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

.venv/.tested: .venv/.installed tests/requirements.lock
	@echo "adding what the tests need to .venv (once)" >&2
	@$(PIP) install --require-hashes --requirement tests/requirements.lock
	@touch $@

up: .venv/.installed  ## a mesh of three nodes on this machine with live status; Ctrl-C ends it
	@exec $(BIN)/mesh up --nodes 3 -o group.initial.rebalance.delay.ms=0 $(UP_FLAGS)

node: .venv/.installed  ## one node, plain lines
	@exec $(BIN)/mesh node $(UP_FLAGS)

test: .venv/.tested  ## all tests that are quick (five minutes at most)
	@$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

flights: .venv/.tested  ## 336,776 real rows through every client and codec, kill -9, and three nodes
	@$(BIN)/python -m tests.interop.flights
	@$(BIN)/python -m tests.interop.flights --nodes 3

bench: .venv/.installed  ## measure produce and fetch of a node of its own
	@$(BIN)/mesh bench produce && $(BIN)/mesh bench fetch && $(BIN)/mesh bench start && $(BIN)/mesh bench idle

lint: .venv/.tested  ## style and likely mistakes
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/.tested  ## mypy, strict, on everything
	@$(BIN)/mypy

check: test lint types  ## what a commit must pass

lock: .venv/.tested  ## renew the locked versions from the ranges in pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --upgrade --python-version 3.11 --group build pyproject.toml \
	    --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --upgrade --python-version 3.11 --group dev pyproject.toml \
	    --constraint requirements.lock --output-file tests/requirements.lock

clean:  ## remove .venv and caches; data directories stay
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -prune -exec rm -rf {} +
