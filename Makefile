# extauthz: `make run` to see it work, `make test` to test all of it. Both need only Python 3.11+, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The compiled build (docs/compiled.md), and what is tested with it: the decision, the messages, the stamp, the log, and
# both builds side by side. With more, `make test-compiled COMPILED_TESTS='tests/doors tests/forward_auth'`.
COMPILED := .compiled
COMPILED_TESTS := $(addprefix tests/,compiled core recall stamp telemetry wire)

.DEFAULT_GOAL := help
.PHONY: help run test compiled test-compiled lint format protos bench soak test-openclaw clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.demo  ## Run Envoy, extauthz and a reference Gateway on loopback, and print lines to try.
	@exec $(BIN)/extauthz demo

test: $(VENV)/.test  ## Run the whole suite. Tests whose program is missing are skipped by name, in CI they fail.
	$(BIN)/pytest -n auto --dist loadfile

compiled: $(COMPILED)/.made  ## Build extauthz with its hot modules compiled, into .compiled/. Needs a C compiler.

# Off the sources' path: a program that is started where they are would find them before what is compiled.
test-compiled: $(VENV)/.test $(COMPILED)/.made  ## Run with the compiled build what decides, of the suite.
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED) EXTAUTHZ_TEST_BUILD=compiled \
	    $(BIN)/pytest -n auto --dist loadfile -m 'not only_pure' $(COMPILED_TESTS)

test-openclaw: $(VENV)/.test  ## Test with the real OpenClaw behind. Installs it into .run/ (0.9 GB) and takes minutes.
	EXTAUTHZ_TEST_OPENCLAW=1 $(BIN)/pytest tests/openclaw

lint: $(VENV)/.test  ## Check style and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.test  ## Format the code.
	$(BIN)/ruff format

protos: $(VENV)/.test  ## Generate the protobuf code from protos/.
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. protos/extauthz/wire/pb/check.proto

bench: $(VENV)/.bench $(COMPILED)/.made  ## Measure: tables, and bench-results/ with figures and plots. BENCH='--quick' for less; see --help.
	PYTHONSAFEPATH=1 PYTHONPATH=$(COMPILED):tests $(BIN)/python -m bench $(BENCH)

soak: $(VENV)/.test  ## Run the service under load for an hour, and show what it takes of memory.
	PYTHONPATH=tests $(BIN)/python -m soak

clean:  ## Remove what the other targets made.
	rm -rf $(VENV) $(COMPILED) .run .pytest_cache .mypy_cache .ruff_cache .hypothesis bench-results

# One environment for all: a marker per set of extras, made anew when the dependencies change.
$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,native,otel,test,uvloop]'
	@touch $@

$(COMPILED)/.made: pyproject.toml hatch_build.py $(shell find extauthz -type f ! -name '*.pyc') $(VENV)/.pip
	rm -rf $(COMPILED)
	HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m pip install --quiet --no-deps --target $(COMPILED) .
	@touch $@
