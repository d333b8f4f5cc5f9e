# make up, make test; `make help` lists the rest. Paths are relative, so that the folder's own name may hold a space.

.DEFAULT_GOAL := help
.PHONY: help setup up test lint lock bench bench-setup faults clean

BIN := .venv/bin
READY := .venv/.ready
# The virtual environment must not follow the folder when it is moved: its scripts hold absolute paths.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

# PYTHON=/path/to/python chooses the interpreter; otherwise the first of these that runs and is 3.11 to 3.13.
PYTHONS = $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
# All tests with the coverage gate; a choice of tests (ARGS) without it, because it could only fail.
COVERAGE = $(if $(ARGS),,--cov --cov-report=term:skip-covered)

help:  ## this list
	@echo 'Resmon. Usage: make TARGET [ARGS="..."]'
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

setup: $(READY)  ## make .venv from requirements.lock (done by the other targets when needed)

up: $(READY)  ## run everything: database, Dagster, collection      (ARGS="--port 4000 --no-browser")
	@exec $(BIN)/resmon up $(ARGS)

test: $(READY)  ## all tests with the coverage gate; with ARGS a choice  (ARGS="-k inventory")
	@exec $(BIN)/python -m pytest -n auto --maxprocesses 4 $(COVERAGE) $(ARGS)

lint: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests

lock:  ## renew requirements.lock for all platforms and Python versions (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' --output-file requirements.lock $(ARGS)
	echo 'chdb>=4' | uv pip compile - --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' --output-file benchmarks/requirements.lock $(ARGS)

bench: $(READY)  ## all benchmarks, one JSON line per figure; `make bench-NAME` runs one
	@for file in benchmarks/[!_]*.py; do \
	    case $$file in */fleet.py|*/synthetic.py) continue;; esac; \
	    [ -e "$$file" ] || { echo 'There is no benchmark yet.' >&2; exit 0; }; \
	    $(BIN)/python "$$file" $(ARGS) || exit 1; \
	done

bench-setup: $(READY)  ## ClickHouse as a reference for bench-tiers (500 MB)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r benchmarks/requirements.lock

bench-dagster: $(READY)  ## what a day adds to Dagster's own database (ARGS="--runs 2"); takes eight minutes
	@exec $(BIN)/python benchmarks/event_log.py $(ARGS)

bench-%: $(READY)
	@exec $(BIN)/python benchmarks/$(subst -,_,$*).py $(ARGS)

faults: $(READY)  ## inject every fault and write what was seen into docs/reliability.md
	@mkdir -p build && rm -f build/faults.jsonl
	@RESMON_RECORD_FAULTS=build/faults.jsonl $(BIN)/python -m pytest -n 2 tests/integration/faults tests/integration/up/test_killed_parts.py
	@$(BIN)/python tests/faults_table.py build/faults.jsonl

clean:  ## remove .venv and caches; never .resmon, which holds the data
	rm -rf .venv build *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The project itself is installed without its dependencies and without build isolation, so that nothing that is not in
# the lock, with its hash, is ever downloaded. pip gets --no-deps for the lock too (it is complete): pip 23 refuses to
# match `gql[requests]` with a hashed `gql==`.
$(READY): requirements.lock pyproject.toml
	@set -e; \
	uv=''; if command -v uv >/dev/null 2>&1; then uv=uv; fi; \
	python=''; \
	for name in $(PYTHONS); do \
	    if "$$name" -c '$(SUPPORTED)' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python$$uv" ]; then \
	    echo 'Resmon needs Python 3.11, 3.12 or 3.13; none of these is one here: $(PYTHONS).' >&2; \
	    echo 'Install it (Debian 12, Ubuntu 24.04 or newer: apt install python3 python3-venv), or uv, which brings its own.' >&2; \
	    exit 1; \
	fi; \
	if [ -z "$$uv" ] && ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "$$python ($$version) cannot make a virtual environment: its module venv or ensurepip is missing." >&2; \
	    echo "Install it with: apt install python3-venv   (python$$version-venv when $$python is not the system's own)." >&2; \
	    exit 1; \
	fi; \
	if [ "$$(cat $(READY) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null && \
	    { [ -n "$$uv" ] || $(BIN)/python -m pip --version >/dev/null 2>&1; }; then \
	    echo 'Bringing .venv up to date with requirements.lock ...'; \
	else \
	    echo "Making .venv from requirements.lock with $${uv:-pip} and Python $${python:-3.13}; the first time this takes a minute or two ..."; \
	    if [ -n "$$uv" ]; then uv venv --quiet --clear --python "$${python:-3.13}" .venv; \
	    else "$$python" -m venv --clear .venv; fi; \
	fi; \
	if [ -n "$$uv" ]; then \
	    uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock; \
	    uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi; \
	printf '%s\n' "$(CURDIR)" > $(READY)
