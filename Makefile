# Lyo Predictive Intelligence: the few commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: accuracy help history setup browser promtool publishers container-tools demo test test-containers alerts lint format check bench chaos faults soak fuzz lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := models streams agents storage predictive ops evaluation tools cli migrations tests
# tests/chaos and tests/alerts take minutes to an hour: make chaos, make faults, make soak, make alerts.
TESTS := $(wildcard tests/unit tests/contract tests/integration tests/browser)
EVENTS ?=
DATA ?= ../shared/data
ONLY ?=
LYO_TEST ?=
UPGRADE ?=
LYO_DEMO ?=
PYTHON ?=
PIP = PIP_USER=0 $(BIN)/python -m pip --disable-pip-version-check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## virtual environment from the lock file

demo: $(if $(wildcard $(VENV)/.locked),setup,$(VENV)/.demo)  ## everything running on this machine with sample events (EVENTS=FILE for a real file)
	@exec $(BIN)/lyo demo $(if $(EVENTS),--events "$(EVENTS)") $(LYO_DEMO)

test: setup browser promtool publishers  ## every test: unit, contract, integration, browser (LYO_TEST="-k word": options for pytest)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 40 --durations-min 5 $(TESTS) $(LYO_TEST)

test-containers: setup container-tools  ## the compose file end to end, on an engine of its own (root; 15 minutes at most)
	LYO_TEST_CONTAINERS=1 timeout --signal=INT --kill-after=60 900 $(BIN)/python -m pytest tests/containers $(LYO_TEST)

alerts: setup promtool  ## each alert provoked on a running system, read by a real Prometheus: about fifteen minutes
	$(BIN)/python -m pytest -s tests/alerts $(LYO_TEST)

lint: $(STAMP)  ## style, format, types, import layers
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy src tests
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff put style and format right where it can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

check: lint test  ## lint and test

accuracy: $(STAMP)  ## the tables of docs/accuracy.md, from event files (DATA=folder; ONLY="--task recall": those alone)
	$(BIN)/python -m lyo.tools.accuracy $(DATA) docs/accuracy.md $(ONLY)

history: setup  ## whole files of history through a running system decide what `lyo replay --as history` does
	LYO_TEST_HISTORY=1 $(BIN)/python -m pytest -s tests/integration/system/test_history.py --timeout 3600 $(LYO_TEST)

bench: setup  ## speed, latency and memory of the full job
	@exec $(BIN)/lyo bench

chaos: setup  ## kill storm, ten minutes, then simulated faults by seed, five (CHAOS_MINUTES=60: longer; CHAOS_SEED=7: the same faults again)
	$(BIN)/python -m pytest -s tests/chaos/test_kill_storm.py $(LYO_TEST)
	SIM_MINUTES=$${SIM_MINUTES:-5} $(BIN)/python -m pytest -s tests/unit/simulation -k as_many $(LYO_TEST)

faults: setup  ## crash at every step, zombies, Kafka and Postgres away: about forty minutes
	$(BIN)/python -m pytest -s tests/chaos --ignore tests/chaos/test_kill_storm.py --ignore tests/chaos/test_soak.py $(LYO_TEST)

soak: setup  ## an hour of events with a fault every minute (SOAK_MINUTES=10: shorter)
	$(BIN)/python -m pytest -s tests/chaos/test_soak.py $(LYO_TEST)

fuzz: $(STAMP)  ## feed the decoders what coverage leads to (FUZZ_SECONDS=60: each of five for so long), then property tests anew
	FUZZ_SECONDS=$${FUZZ_SECONDS:-20} $(BIN)/python -m tests.fuzz.run
	LYO_TEST_HYPOTHESIS=explore $(BIN)/python -m pytest -m "not integration" $$(grep -rl '^from hypothesis' tests --include='test_*.py') $(LYO_TEST)

LOCK_WITH = $(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --quiet pyproject.toml

lock: $(STAMP)  ## the lock files: everything, the demo, images (UPGRADE=1: newest versions), and Kafka's jars
	$(LOCK_WITH) --extra dev $(if $(UPGRADE),--upgrade) --output-file requirements.txt
	$(LOCK_WITH) --extra local --constraint requirements.txt --output-file requirements-demo.txt
	$(LOCK_WITH) --extra all --extra build --constraint requirements.txt --output-file requirements-runtime.txt
	$(BIN)/python -m lyo.tools.stack.lock_jars

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

# A client that other languages' publishers use; Node.js and Go are a developer's own.
publishers:
	@if ! command -v kcat >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing kcat for the tests of other clients"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kcat; } \
	    >/dev/null 2>&1 || echo "kcat could not be installed: apt-get install kcat" >&2; \
	fi

# Of Debian's prometheus the programs alone: the package would start the service.
promtool:
	@if { ! command -v promtool || ! command -v prometheus; } >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing promtool and prometheus for the tests of the alerts"; folder=$$(mktemp -d); \
	  { apt-get update -qq && cd $$folder && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb x && \
	    install x/usr/bin/promtool x/usr/bin/prometheus /usr/local/bin/; } >/dev/null 2>&1 || echo "they could not be installed" >&2; \
	  rm -rf $$folder; \
	fi

# A container engine that the tests start themselves, and what builds stand-ins for images; both from Debian.
container-tools:
	@missing=""; command -v dockerd >/dev/null || missing="docker.io iptables iproute2"; \
	command -v mmdebstrap >/dev/null || missing="$$missing mmdebstrap"; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing $$missing for the test of the containers"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } \
	    >/dev/null 2>&1 || echo "they could not be installed: apt-get install $$missing" >&2; \
	fi

# $(call installed,FILE): the virtual environment with exactly the packages of a lock file, and this package.
define installed
	@python=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer is missing: install it, e.g. apt-get install python3.11 python3.11-venv" >&2; exit 1; fi; \
	"$$python" -m venv $(VENV) || { echo "python -m venv failed: install it, e.g. apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages of $(1) into $(VENV)"
	@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' $(1) > $(VENV)/uv.txt
	@$(PIP) install --quiet --require-hashes --no-deps -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --python $(BIN)/python --require-hashes $(1) || { \
	  echo "uv could not; pip tries, which is slower but reads pip's own settings (a package index of yours)"; \
	  $(PIP) install --require-hashes --no-deps -r $(1); }
endef

INSTALL_OURS = $(PIP) install --quiet --no-deps --no-build-isolation --editable .

$(STAMP): $(VENV)/.locked pyproject.toml
	@$(INSTALL_OURS)
	@touch $@

$(VENV)/.locked: requirements.txt
	$(call installed,$<)
	@touch $@

# The demo alone, as long as nothing else was asked for.
$(VENV)/.demo: requirements-demo.txt pyproject.toml
	$(call installed,$<)
	@$(INSTALL_OURS)
	@touch $@
