# Lyo Predictive Intelligence: the few commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup tools browser demo test lint format check bench chaos faults soak lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := $(wildcard models streams agents storage predictive ops cli migrations evaluation bench tests)
# tests/chaos takes minutes to an hour: make chaos, make faults, make soak.
TESTS := $(wildcard tests/unit tests/contract tests/integration tests/browser)
EVENTS ?=
LYO_TEST ?=
UPGRADE ?=
PYTHON ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: tools $(STAMP)  ## virtual environment from the lock file; checks Python, Java and Maven

demo: setup  ## everything running on this machine with sample events (EVENTS=FILE for a real file)
	@exec $(BIN)/lyo demo $(if $(EVENTS),--events "$(EVENTS)")

test: setup browser  ## every test: unit, contract, integration, browser (LYO_TEST="-k word": options for pytest)
	$(BIN)/python -m pytest $(TESTS) $(LYO_TEST)

lint: $(STAMP)  ## style, format, types, import layers
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff put style and format right where it can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

check: lint test  ## lint and test

bench: setup  ## speed, latency and memory of the full job
	@exec $(BIN)/lyo bench

chaos: setup  ## kill storm, ten minutes (CHAOS_MINUTES=60: longer; CHAOS_SEED=7: the same faults again)
	$(BIN)/python -m pytest -s tests/chaos/test_kill_storm.py $(LYO_TEST)

faults: setup  ## crash at every step, zombies, Kafka and Postgres away: about forty minutes
	$(BIN)/python -m pytest -s tests/chaos --ignore tests/chaos/test_kill_storm.py --ignore tests/chaos/test_soak.py $(LYO_TEST)

soak: setup  ## an hour of events with a fault every minute (SOAK_MINUTES=10: shorter)
	$(BIN)/python -m pytest -s tests/chaos/test_soak.py $(LYO_TEST)

lock: $(STAMP)  ## requirements.txt from requirements.in (UPGRADE=1: newest versions of everything)
	$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	  --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) --quiet requirements.in --output-file requirements.txt

clean:  ## stop the local stack; remove it, the virtual environment and all caches
	@if [ -x $(BIN)/lyo ]; then $(BIN)/lyo down || true; fi
	rm -rf $(VENV) .lyo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

# The pages are tested in Debian's Chromium; without it those tests are skipped, except where CI is set.
browser:
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing Chromium for the tests of the pages"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	    >/dev/null 2>&1 || echo "Chromium could not be installed: apt-get install chromium" >&2; \
	fi

# One line each, before anything is downloaded.
tools:
	@java=$$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true; \
	if [ "$${java:-0}" -lt 17 ]; then \
	  echo "Java 17 or newer is missing (found: $${java:-none}): install it, e.g. apt-get install openjdk-17-jre-headless" >&2; exit 1; fi
	@command -v mvn >/dev/null || { \
	  echo "Maven is missing: install it, e.g. apt-get install maven" >&2; exit 1; }

$(STAMP): $(VENV)/.locked pyproject.toml
	@PIP_USER=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=compat --editable .
	@touch $@

$(VENV)/.locked: requirements.txt
	@python=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer is missing: install it, e.g. apt-get install python3.11 python3.11-venv" >&2; exit 1; fi; \
	"$$python" -m venv $(VENV) || { echo "python -m venv failed: install it, e.g. apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV)"
	@PIP_USER=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	@touch $@
