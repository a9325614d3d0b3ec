# The task runner of people and of CI. `make help` lists the tasks.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
CARGO := cargo
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH PYTHONHOME CONDA_PREFIX

.PHONY: help setup wheel demo test test-rust test-python lint format bench bench-jvm docs clean tools

help: ## Lists the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

tools:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust 1.90 or later from https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc (Debian: apt-get install build-essential)"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.10 or later, or say PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than 3.10: say PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) cannot make virtual environments: install python3-venv"; exit 1; }

# The environment is made anew when the locked versions change.
$(VENV)/.locked: py/requirements-dev.txt | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement py/requirements-dev.txt
	touch $@

# One call for both, so that each library is compiled once. Cargo knows by itself what is to be built.
setup: $(VENV)/.locked ## Makes .venv with the package, and target/release/transom
	PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) build --release --locked --package transom-cli --package transom-py
	$(BIN)/python py/develop.py target/release/lib_native.so

wheel: $(VENV)/.locked ## Builds the Python package for others, into target/wheels
	cd py && ../$(BIN)/maturin build --release --locked

demo: setup ## Runs the main job: prices over TPC-H lineitem, and the words of a real book
	$(BIN)/python examples/demo.py

test: setup lint test-rust test-python ## Runs every check and test

test-rust: $(VENV)/.locked
	$(CARGO) test --locked

test-python: setup
	$(BIN)/python -m pytest -q tests
	$(BIN)/python -m pytest -q benches/tests

lint: $(VENV)/.locked ## Checks formatting and lints
	$(CARGO) fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/.locked ## Formats the code
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measures, prints the table, and draws the plot; bench-jvm has the JVM's part
	$(CARGO) build --release --locked --package transom-bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(BIN)/python benches/bench.py

bench-jvm: setup ## Measures the JVM as host and as worker, beside Py4J, JPype and Arrow IPC
	$(CARGO) build --release --locked --package transom-bench --package transom-jni
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	mvn -q -f jvm/pom.xml -P bench -pl ../benches/jvm -am -DskipTests package
	$(BIN)/python benches/bench_jvm.py

docs: ## Builds the Rust API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --package transom

clean: ## Removes everything that was built
	$(CARGO) clean
	rm -rf $(VENV) out
