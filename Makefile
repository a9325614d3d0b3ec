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

MAVEN := mvn --batch-mode --no-transfer-progress --file jvm/pom.xml
# The newest JDK that there is: the JVM's tests run on that of Maven, and once more on this.
JAVA_NEWEST ?= $(lastword $(shell ls -d /usr/lib/jvm/*/bin/java 2>/dev/null | sed -E 's:.*/[a-z]*-?([0-9]+)[^/]*/bin/java:\1 &:' | sort -n | cut -d' ' -f2))

.PHONY: help setup wheel ffi install header jvm demo test test-rust test-python test-ffi test-jvm soak fuzz fuzz-build fuzz-ci fuzz-release check-sanitizers check-valgrind lint audit format \
	bench bench-native bench-jvm bench-peers docs clean tools tools-jvm

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
BUILD := PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) build --release --locked --package transom-cli --package transom-py --package transom-malloc
setup: $(VENV)/.locked ## Makes .venv with the package, and target/release/transom
	$(BUILD)
	$(BIN)/python py/develop.py target/release/lib_native.so

# What the Python package brings for workers of other languages.
BROUGHT := py/python/transom/_bin

wheel: ffi jvm ## Builds the Python package for others, into target/wheels
	cd py && ../$(BIN)/maturin build --release --locked

# The library is installed under its own name: in the workspace it cannot bear it, since the core's has it. Its number is that of the ABI.
define INSTALL_FFI
	install -d $(1)/bin $(1)/include $(1)/lib/pkgconfig
	install -m 755 target/release/libtransom_c.so $(1)/lib/libtransom.so.1
	ln -sf libtransom.so.1 $(1)/lib/libtransom.so
	install -m 644 target/release/libtransom_c.a $(1)/lib/libtransom.a
	install -m 755 target/release/libtransom_malloc.so $(1)/lib/libtransom_malloc.so
	install -m 755 target/release/transom-native-worker $(1)/bin/transom-native-worker
	install -m 644 ffi/include/transom.h ffi/include/transom.hpp $(1)/include
	sed 's|@PREFIX@|$(2)|; s|@VERSION@|$(VERSION)|' ffi/transom.pc.in > $(1)/lib/pkgconfig/transom.pc
endef

# With the program and the package in one call, as above; what the examples and tests use is laid out as it is installed.
ffi: setup ## Builds the C library, its header and transom-native-worker, into target/ffi
	$(BUILD) --package libtransom --package transom-ffi --package transom-jni
	$(call INSTALL_FFI,$(CURDIR)/target/ffi,$(CURDIR)/target/ffi)
	install -D -m 755 target/release/transom-native-worker $(BROUGHT)/transom-native-worker

install: ## Installs the C library, its header and transom-native-worker: PREFIX=/usr/local DESTDIR=
	$(CARGO) build --release --locked --package libtransom --package transom-ffi --package transom-malloc
	$(call INSTALL_FFI,$(DESTDIR)$(PREFIX),$(PREFIX))

header: ## Writes ffi/include/transom.h anew
	TRANSOM_WRITE_HEADER=1 $(CARGO) test --locked --package transom-ffi --test header
tools-jvm: tools
	@command -v javac >/dev/null || { echo "a JDK is missing: install Java 17 or later (Debian: apt-get install openjdk-17-jdk-headless)"; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven is missing: install it (Debian: apt-get install maven)"; exit 1; }

jvm: setup tools-jvm ## Builds the JVM's jars, with the native library in them, into jvm/*/target
	$(BUILD) --package libtransom --package transom-ffi --package transom-jni
	$(MAVEN) --quiet package -DskipTests -P examples,bench
	install -D -m 644 jvm/transom-worker/target/transom-worker-$(VERSION).jar $(BROUGHT)/transom-worker.jar

demo: setup ## Runs the main job: prices over TPC-H lineitem, and the words of a real book
	$(BIN)/python examples/demo.py

test: setup lint audit test-rust fuzz-ci test-python test-ffi test-jvm ## Runs every check and test

test-rust: $(VENV)/.locked
	$(CARGO) test --locked --workspace --exclude transom-py --exclude transom-bench

# The first line builds what the conformance kit needs of Rust; after test-rust there is nothing to do.
test-python: setup ffi jvm
	$(CARGO) test --locked --workspace --exclude transom-py --exclude transom-bench --no-run --quiet
	$(BIN)/python -m pytest -q tests
	$(BIN)/python -m pytest -q benches/tests

# RUSTC_BOOTSTRAP lets a stable compiler take the flag; naming the target keeps it away from build scripts and macros.
check-sanitizers: tools ## Runs the Rust tests under AddressSanitizer and LeakSanitizer, in a build of their own
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) test --locked --target $$(rustc -vV | sed -n 's/^host: //p') --target-dir target/sanitizer \
		--package transom --package transom-ffi --package transom-tests --lib --bins --tests

# As cargo-fuzz builds, which so is not needed; but only crates that decide over an input tell what it reaches (fuzz/instrument.toml).
FUZZ_BIN = target/fuzz/$(shell rustc -vV | sed -n 's/^host: //p')/release
FUZZ_CONFIG := fuzz/instrument.toml
FUZZ_TARGETS := descriptor message schema batch
FUZZ_SECONDS ?= 60
# Without what costs time for each input and only adds to a report, which a finding that is run alone has: stacks of allocations. Leaks are looked
# for at the end of a run.
FUZZ_ASAN := malloc_context_size=0:quarantine_size_mb=8:detect_stack_use_after_return=0
FUZZ_OPTIONS := -detect_leaks=0 -entropic=0 -verbosity=0 -print_funcs=0 -print_final_stats=1

fuzz-build: tools
	@command -v c++ >/dev/null || { echo "a C++ compiler is missing, for libFuzzer: install g++ (Debian: apt-get install build-essential)"; exit 1; }
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="--cfg fuzzing -Zsanitizer=address" $(CARGO) build --release --locked --manifest-path fuzz/Cargo.toml \
		$(FUZZ_CONFIG:%=--config %) --target-dir target/fuzz --target $$(rustc -vV | sed -n 's/^host: //p')

# What is new goes to target/fuzz/corpus; `fuzz/corpus` is only read. The time is for all targets together.
fuzz: fuzz-build ## Fuzzes what workers may lie about, under AddressSanitizer: FUZZ_SECONDS=60
	for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target fuzz/artifacts/$$target; \
		ASAN_OPTIONS=$(FUZZ_ASAN) $(FUZZ_BIN)/$$target -max_total_time=$$(($(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)))) $(FUZZ_OPTIONS) \
			-artifact_prefix=fuzz/artifacts/$$target/ target/fuzz/corpus/$$target fuzz/corpus/$$target; \
	done

# The same inputs each time: what is kept, and so many that the seed makes of it.
fuzz-ci: fuzz-build ## Runs the kept inputs and a fixed number of new ones, under AddressSanitizer
	for run in descriptor:20000 message:40000 schema:20000 batch:2000; do \
		target=$${run%:*}; rm -rf target/fuzz/ci/$$target; mkdir -p target/fuzz/ci/$$target fuzz/artifacts/$$target; \
		ASAN_OPTIONS=$(FUZZ_ASAN) $(FUZZ_BIN)/$$target -runs=$${run#*:} -seed=1 $(FUZZ_OPTIONS) \
			-artifact_prefix=fuzz/artifacts/$$target/ target/fuzz/ci/$$target fuzz/corpus/$$target; \
	done

fuzz-release: FUZZ_CONFIG += fuzz/release.toml
fuzz-release: fuzz-build ## Fuzzes on until the counts of a release are reached; goes on where it was stopped
	ASAN_OPTIONS=$(FUZZ_ASAN) $(PYTHON) fuzz/release.py $(FUZZ_BIN) $(FUZZ_OPTIONS)

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

# On the JDK of Maven with the newest arrow-java, then the same classes with the oldest, and on the newest JDK. What -Xcheck:jni says fails the run.
test-jvm: setup jvm ## Tests the JVM as host and as worker
	$(MAVEN) verify 2>&1 | tee target/test-jvm.log
	$(MAVEN) --projects transom-java surefire:test -P oldest-arrow 2>&1 | tee -a target/test-jvm.log
	if [ -n "$(JAVA_NEWEST)" ]; then $(MAVEN) --projects transom-java surefire:test -Dtransom.test.java=$(JAVA_NEWEST) 2>&1 | tee -a target/test-jvm.log; fi
	! grep -E "(WARNING|FATAL ERROR) in native method" -A 20 target/test-jvm.log

# The tests' own build, in a folder of its own: it has steps at which processes are made to die, which no product has. It goes on where the last run
# stopped, and stops at the end of its minutes or at Ctrl-C.
SOAK := target/soak-build/release
soak: setup ## Runs the fault tests with the counts of a release, and writes docs/reliability.md: SOAK_MINUTES=
	$(CARGO) build --release --locked --target-dir target/soak-build --package transom-tests --bins
	$(SOAK)/soak --python $(BIN)/python $(if $(SOAK_MINUTES),--minutes $(SOAK_MINUTES))

lint: $(VENV)/.locked ## Checks formatting and lints
	$(CARGO) fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# In an environment of their own: the tools bring a good deal, and what is tested should not have it.
AUDIT := target/audit
$(AUDIT)/.locked: audit/requirements.txt | tools
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement audit/requirements.txt
	touch $@

audit: $(AUDIT)/.locked ## Checks what Transom is built from: known vulnerabilities, licences, sources
	$(AUDIT)/bin/python audit/audit.py

format: $(VENV)/.locked ## Formats the code
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measures, prints the table, and draws the plot; bench-jvm and bench-peers have more
	$(CARGO) build --release --locked --package transom-bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(BIN)/python benches/bench.py
	$(BIN)/python benches/targets.py

bench-native: ffi ## Measures the C ABI beside Rust
	$(CARGO) build --release --locked --package transom-bench
	$(BIN)/python benches/native.py

bench-jvm: setup tools-jvm ## Measures the JVM as host and as worker, beside Py4J, JPype and Arrow IPC
	$(CARGO) build --release --locked --package transom-bench --package transom-jni
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(MAVEN) --quiet package -DskipTests -P bench --projects ../benches/jvm --also-make
	$(BIN)/python benches/bench_jvm.py

# The peers have an environment of their own, made anew when their locked versions change.
PEERS := target/peers-venv
$(PEERS)/.locked: benches/peers/requirements.txt | tools
	rm -rf $(PEERS)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt
	touch $@

bench-peers: setup $(PEERS)/.locked ## Measures Transom beside PySpark, Ray, Daft, DuckDB, DataFusion, polars and Flight
	$(CARGO) build --release --locked --package transom-bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
	$(BIN)/python benches/bench_peers.py

docs: ## Builds the Rust API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --package transom

clean: ## Removes everything that was built
	$(CARGO) clean
	rm -rf $(VENV) $(BROUGHT) out {jvm,examples,tests,benches}/{,*/}target/
