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

MAVEN := mvn --batch-mode --no-transfer-progress --file jvm/pom.xml
# The JDK that Maven runs on, or 17; and the newest that there is, on which the tests run once more.
JAVA_NEWEST ?= $(lastword $(shell ls -d /usr/lib/jvm/*/bin/java 2>/dev/null | sed -E 's:.*/[a-z]*-?([0-9]+)[^/]*/bin/java:\1 &:' | sort -n | cut -d' ' -f2))

.PHONY: help setup wheel demo jvm test test-rust test-python test-jvm lint format bench bench-jvm docs clean tools tools-jvm

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

tools-jvm: tools
	@command -v javac >/dev/null || { echo "a JDK is missing: install Java 17 or later (Debian: apt-get install openjdk-17-jdk-headless)"; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven is missing: install it (Debian: apt-get install maven)"; exit 1; }

jvm: tools-jvm ## Builds the JVM's jars, with the native library in them, into jvm/*/target
	$(CARGO) build --release --locked --package transom-jni
	$(MAVEN) --quiet package -DskipTests

demo: setup ## Runs the main job: prices over TPC-H lineitem, and the words of a real book
	$(BIN)/python examples/demo.py

test: setup lint test-rust test-python ## Runs every check and test

test-rust: $(VENV)/.locked
	$(CARGO) test --locked

test-python: setup
	$(BIN)/python -m pytest -q tests
	$(BIN)/python -m pytest -q benches/tests

# On the JDK of Maven with the newest arrow-java, then the same classes with the oldest, and on the newest JDK. What -Xcheck:jni says fails the run.
test-jvm: setup jvm ## Tests the JVM as host and as worker
	$(MAVEN) verify 2>&1 | tee target/test-jvm.log
	$(MAVEN) --projects transom-java surefire:test -P oldest-arrow 2>&1 | tee -a target/test-jvm.log
	if [ -n "$(JAVA_NEWEST)" ]; then $(MAVEN) --projects transom-java surefire:test -Dtransom.test.java=$(JAVA_NEWEST) 2>&1 | tee -a target/test-jvm.log; fi
	! grep -E "(WARNING|FATAL ERROR) in native method" -A 20 target/test-jvm.log

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

bench-jvm: setup tools-jvm ## Measures the JVM as host and as worker, beside Py4J, JPype and Arrow IPC
	$(CARGO) build --release --locked --package transom-bench --package transom-jni
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(MAVEN) --quiet package -DskipTests -P bench --projects ../benches/jvm --also-make
	$(BIN)/python benches/bench_jvm.py

docs: ## Builds the Rust API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --package transom

clean: ## Removes everything that was built
	$(CARGO) clean
	rm -rf $(VENV) out
