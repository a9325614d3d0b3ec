# The task runner of people and of CI. `make help` lists the tasks.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
CARGO := cargo
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH PYTHONHOME CONDA_PREFIX

.PHONY: help setup wheel ffi install header demo test test-rust test-python test-ffi check-sanitizers check-valgrind lint format bench docs clean tools

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

# The library is installed under its own name: in the workspace it cannot bear it, since the core's has it. Its number is that of the ABI.
define INSTALL_FFI
	install -d $(1)/bin $(1)/include $(1)/lib/pkgconfig
	install -m 755 target/release/libtransom_ffi.so $(1)/lib/libtransom.so.1
	ln -sf libtransom.so.1 $(1)/lib/libtransom.so
	install -m 644 target/release/libtransom_ffi.a $(1)/lib/libtransom.a
	install -m 755 target/release/transom-native-worker $(1)/bin/transom-native-worker
	install -m 644 ffi/include/transom.h ffi/include/transom.hpp $(1)/include
	sed 's|@PREFIX@|$(2)|; s|@VERSION@|$(VERSION)|' ffi/transom.pc.in > $(1)/lib/pkgconfig/transom.pc
endef

# With the program and the package in one call, as above; what the examples and tests use is laid out as it is installed.
ffi: setup ## Builds the C library, its header and transom-native-worker, into target/ffi
	PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) build --release --locked --package transom-cli --package transom-py --package transom-ffi
	$(call INSTALL_FFI,$(CURDIR)/target/ffi,$(CURDIR)/target/ffi)

install: ## Installs the C library, its header and transom-native-worker: PREFIX=/usr/local DESTDIR=
	$(CARGO) build --release --locked --package transom-ffi
	$(call INSTALL_FFI,$(DESTDIR)$(PREFIX),$(PREFIX))

header: ## Writes ffi/include/transom.h anew
	TRANSOM_WRITE_HEADER=1 $(CARGO) test --locked --package transom-ffi --test header

demo: setup ## Runs the main job: prices over TPC-H lineitem, and the words of a real book
	$(BIN)/python examples/demo.py

test: setup lint test-rust test-python ## Runs every check and test

test-rust: $(VENV)/.locked
	$(CARGO) test --locked

# The first line builds what the conformance kit needs of Rust; after test-rust there is nothing to do.
test-python: setup ffi
	$(CARGO) test --locked --no-run --quiet
	$(BIN)/python -m pytest -q tests
	$(BIN)/python -m pytest -q benches/tests

# RUSTC_BOOTSTRAP lets a stable compiler take the flag; naming the target keeps it away from build scripts and macros.
check-sanitizers: tools ## Runs the Rust tests under AddressSanitizer and LeakSanitizer, in a build of their own
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) test --locked --target $$(rustc -vV | sed -n 's/^host: //p') --target-dir target/sanitizer \
		--package transom --package transom-ffi --package transom-tests --lib --bins --tests

# The examples of every language, and misuse of the C ABI. What is missing (Go, Node.js) is named by the test that needs it.
test-ffi: ffi
	$(BIN)/python -m pytest -q ffi/tests

# Only what is lost for certain counts: Rust keeps pointers into the middle of its allocations, which look possibly lost.
VALGRIND ?= valgrind
MEMCHECK := $(VALGRIND) -q --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --error-exitcode=9

check-valgrind: ffi ## Runs the C examples and the misuse tests under valgrind's memcheck
	@command -v $(VALGRIND) >/dev/null || { echo "valgrind is missing: install version 3.24 or later (Debian 13: apt-get install valgrind), or say VALGRIND=/path/to/valgrind"; exit 1; }
	@$(VALGRIND) --version | sed s/valgrind-// | { read version; printf '3.24\n%s\n' "$$version" | sort -CV; } || { echo "$$($(VALGRIND) --version) does not know pidfd_open: version 3.24 or later is needed, such as Debian 13's; say VALGRIND=/path/to/valgrind"; exit 1; }
	$(BIN)/python -m pytest -q ffi/tests -k 'misuse or c-c' --under='$(MEMCHECK)'

lint: $(VENV)/.locked ## Checks formatting and lints
	$(CARGO) fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/.locked ## Formats the code
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measures, prints the table, and draws the plot
	$(CARGO) build --release --locked --package transom-bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(BIN)/python benches/bench.py

docs: ## Builds the Rust API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --package transom

clean: ## Removes everything that was built
	$(CARGO) clean
	rm -rf $(VENV) out
