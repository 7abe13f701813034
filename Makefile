# Everything is built inside the clone: .venv from the locks, other files under build/.
SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Airflow takes seconds to compile: keep the bytecode (in .venv and __pycache__), whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
STAMP := .venv/.installed
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
PYTEST = $(BIN)/python -m pytest --hypothesis-seed=$(SEED)

.PHONY: help install demo test test-postgres test-e2e test-slow test-all test-python test-lowest matrix wheel lint format lock env bench chaos soak clean

help:  ## Show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## Build .venv from the locks, the package editable in it (nothing to do: nothing done)

# One shell per line and no newer feature of make: macOS still ships GNU Make 3.81.
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@for python in $(PYTHONS); do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then break; fi; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make install needs Python 3.11 or newer (below 3.15) and found it under none of these names: $(PYTHONS)." >&2; \
		echo "Install one (Debian: apt install python3 python3-venv), or name it: make install PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "make install needs the modules venv and ensurepip of $$python, and they are not there." >&2; \
		echo "On Debian and Ubuntu: apt install $$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
		exit 1; \
	fi; \
	[ -x $(BIN)/python ] || $$python -m venv .venv
	@[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: install  ## Sandbox, receiver and Airflow on this machine, one full cycle (ONCE=1: then end)
	@exec $(BIN)/python -m include.demo $(if $(ONCE),--once)

test: install  ## What a change must pass, in minutes; needs nothing but PyPI
	@echo "seed: $(SEED) (again: make test SEED=$(SEED))"
	@$(PYTEST) $(QUICK)

test-postgres: install  ## Everything that both databases run, on PostgreSQL
	@echo "seed: $(SEED) (again: make test-postgres SEED=$(SEED))"
	@$(PYTEST) -n 4 --dist loadgroup -m "postgres and not e2e and not chaos and not bench"

test-e2e: install  ## Whole processes: Airflow, the receiver, a browser
	@$(PYTEST) -n 2 --dist loadfile --timeout 600 -m "e2e and not chaos and not bench"

# Beside .venv, below build/: another interpreter with the same locks, and the lowest versions we say we work with.
QUICK = -n 4 --dist loadgroup --sample $(SEED) -m "not e2e and not chaos and not bench"

test-python: install  ## tests/unit and tests/airflow on another interpreter: PYTHON=/path/to/python3.13
	@[ -n "$(PYTHON)" ] || { echo "which one? make test-python PYTHON=/path/to/python3.13" >&2; exit 1; }
	@other=build/python-$$($(PYTHON) -c 'import platform; print(platform.python_version())') && \
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $$other && \
	$(BIN)/uv pip sync --quiet --python $$other/bin/python requirements-dev.txt && \
	$(BIN)/uv pip install --quiet --python $$other/bin/python --no-deps --no-build-isolation --editable . && \
	echo "$$other, seed: $(SEED)" && \
	$$other/bin/python -m pytest --hypothesis-seed=$(SEED) $(QUICK) tests/unit tests/airflow

# Before anyio 4.16 a connection whose request is cancelled while it connects is left to the garbage collector.
PARDON = -W "ignore:unclosed <socket:ResourceWarning" -W "ignore:unclosed transport:ResourceWarning"
LOWEST = $(BIN)/uv pip compile --quiet --no-annotate --no-header --python $(BIN)/python --extra postgres --extra receiver pyproject.toml

test-lowest: install  ## tests/unit, tests/flows and tests/airflow on the lowest versions that pyproject.toml allows
	@mkdir -p build && cp requirements-dev.txt build/lowest-dev.txt
	@$(LOWEST) --upgrade --resolution lowest-direct --output-file build/lowest.txt
	@$(LOWEST) --group dev --constraint build/lowest.txt --output-file build/lowest-dev.txt
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python build/lowest
	@$(BIN)/uv pip sync --quiet --python build/lowest/bin/python build/lowest-dev.txt
	@$(BIN)/uv pip install --quiet --python build/lowest/bin/python --no-deps --no-build-isolation --editable .
	@echo "build/lowest, seed: $(SEED)"
	@build/lowest/bin/python -m pytest --hypothesis-seed=$(SEED) $(PARDON) $(QUICK) tests/unit tests/flows tests/airflow

NEWEST = $(BIN)/uv pip compile --quiet --no-annotate --no-header --upgrade --extra postgres --extra receiver --group dev pyproject.toml

matrix: test-lowest  ## tests/unit, tests/airflow and the demo on the newest versions, and that and tests/flows on the lowest
	@build/lowest/bin/python -m include.demo --once
	@$(NEWEST) --python $(BIN)/python --output-file build/newest.txt
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python build/newest
	@$(BIN)/uv pip sync --quiet --python build/newest/bin/python build/newest.txt
	@$(BIN)/uv pip install --quiet --python build/newest/bin/python --no-deps --no-build-isolation --editable .
	@echo "build/newest, seed: $(SEED)"
	@build/newest/bin/python -m pytest --hypothesis-seed=$(SEED) $(QUICK) tests/unit tests/airflow
	@build/newest/bin/python -m include.demo --once

wheel: install  ## Build the package into dist/
	@rm -f dist/*.whl
	@$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls dist/*.whl

test-slow: test-postgres test-e2e  ## What make test leaves out (kills in full: make chaos)

test-all: test test-slow  ## Both

lint: install  ## ruff, mypy, the arrows between the rooms, the compose file
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

format: install  ## Let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate --no-header --extra postgres --extra receiver

lock: install  ## Solve the locks anew (the newest versions that pyproject.toml allows)
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) --group celery --constraint requirements.txt pyproject.toml --output-file requirements-celery.txt
	@$(COMPILE) --group dev --constraint requirements-celery.txt pyproject.toml --output-file requirements-dev.txt

bench: install  ## Measure, and compare with what others offer
	@$(PYTEST) --timeout 1200 -s -m bench tests/benchmarks

chaos: install  ## Kill and starve what runs
	@$(PYTEST) --timeout 1200 -m "chaos or sampled"

soak: install  ## Run the demo N times (N=10), beside BUSY busy loops: a line each in build/soak*.jsonl
	@exec $(BIN)/python -m include.demo.soak $(or $(N),10) $(if $(BUSY),--busy $(BUSY))

env:  ## Write .env for docker compose with fresh secrets (never overwrites one)
	@if [ -e .env ]; then echo ".env is there already; remove it to make new secrets" >&2; exit 1; fi
	@umask 077; while IFS= read -r line; do \
		case "$$line" in \
			*FERNET_KEY=) line="$$line$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" ;; \
			*SECRET=|*SECRET_KEY=) line="$$line$$(head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" ;; \
			*PASSWORD=) line="$$line$$(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" ;; \
		esac; \
		printf '%s\n' "$$line"; \
	done < .env.example > .env
	@echo "Wrote .env. Set TELNYX_API_KEY and TELNYX_PUBLIC_KEYS in it, then: docker compose up"

clean:  ## Remove everything that make has built
	@rm -rf build dist .venv .hypothesis .ruff_cache plugins/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
