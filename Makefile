# Everything a developer runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TARGET  := $(or $(CARGO_TARGET_DIR),target)
DEBUG   := $(TARGET)/debug/witgate
RELEASE := $(TARGET)/release/witgate
# Which build of the binary compiles the plugins and prints the docs.
WITGATE ?= $(DEBUG)
# Our own plugins, found by name; the examples' and the tests' lie apart, so that none passes for ours.
PLUGINS  := $(patsubst %/plugin.toml,%,$(wildcard plugins/*/*/plugin.toml))
EXAMPLES := $(patsubst %/plugin.toml,%,$(wildcard examples/plugins/*/plugin.toml))
LITELLM  := $(wildcard examples/litellm/*.py)
FIXTURES := $(EXAMPLES) $(patsubst %/plugin.toml,%,$(wildcard tests/fixtures/guests/*/plugin.toml tests/fixtures/guests/*/*/plugin.toml tests/fixtures/sdk/*/plugin.toml))
# The builders of plugins in Python, JavaScript, C and Go, finished builds, and compiled components; all of them only once.
export WITGATE_TOOLS_DIR ?= $(CURDIR)/plugins/target/tools
PLUGIN_CACHE := $(CURDIR)/plugins/target/cache
# Debian's Node 18 is old enough to need npm's quiet modes and new enough for the SDK.
NPM := npm --no-fund --no-audit --loglevel=error
# What tests need of npm: the SDK of OpenAI, and an OpenID provider.
NODE_MODULES := $(patsubst %,%/node_modules/.package-lock.json,tests/sdk/javascript tests/vendors/idp)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

.PHONY: setup
setup: ## install what is missing to build: C compiler, wasm target for plugins
	@tests/tools/setup.sh build

.PHONY: run
run: setup ## build everything in release mode and serve examples/quickstart.yaml on 127.0.0.1:4000
	cargo build --release --locked -p witgate
	@$(MAKE) --no-print-directory plugins WITGATE=$(RELEASE)
	@exec tests/tools/quickstart.sh $(RELEASE)

.PHONY: test
test: setup $(TARGET)/venv-sdk/ready $(TARGET)/venv-management/ready $(NODE_MODULES) ## all tests: unit, plugins, whole binary, real SDKs
	cargo build --workspace --bins --tests --locked
	@$(MAKE) --no-print-directory plugins
	@$(MAKE) --no-print-directory test-plugins
	@tests/tools/run-tests.sh

.PHONY: check
check: ## seconds: does everything compile, is it formatted
	cargo check --workspace --all-targets --locked
	@$(MAKE) --no-print-directory fmt-check

.PHONY: plugins
plugins: $(WITGATE) ## build our plugins into plugins/target/components, the examples' into …/fixtures
	$(WITGATE) plugin build $(PLUGINS) --out plugins/target/components
	$(WITGATE) plugin build $(FIXTURES) $(LITELLM) --out plugins/target/fixtures

.PHONY: test-plugins
test-plugins: $(WITGATE) ## run the built plugins' cases and the conformance suite of their kinds
	WITGATE_DATA_DIR=$(PLUGIN_CACHE) $(WITGATE) plugin test $(PLUGINS) --built plugins/target/components
	WITGATE_DATA_DIR=$(PLUGIN_CACHE) $(WITGATE) plugin test $(EXAMPLES) $(LITELLM) --built plugins/target/fixtures

.PHONY: bench
bench: setup ## measure against nginx and LiteLLM; the table is also written to target/bench.md
	@tests/tools/setup.sh bench
	cargo build --release --locked -p witgate
	cargo build --release --locked -p witgate-testkit --bin fake-upstream
	cargo build --release --locked -p witgate-routing --example selection-cost
	cargo build --release --locked -p witgate-store --example store-cost
	@$(MAKE) --no-print-directory plugins WITGATE=$(RELEASE)
	@$(MAKE) --no-print-directory $(TARGET)/venv-litellm/ready
	python3 tests/bench/bench.py --target $(TARGET)

.PHONY: bench-plugins
bench-plugins: setup ## measure what plugins cost: by language, and many of them
	@tests/tools/setup.sh bench
	cargo build --release --locked -p witgate
	cargo build --release --locked -p witgate-testkit --bin fake-upstream
	python3 tests/bench/plugins.py --target $(TARGET)

.PHONY: differ
differ: $(WITGATE) $(TARGET)/venv-litellm/ready ## play scenarios of routing against LiteLLM and Witgate; tell where they differ
	$(TARGET)/venv-litellm/bin/python tests/differ/differ.py --witgate $(WITGATE) --litellm $(TARGET)/venv-litellm

.PHONY: docs
docs: $(WITGATE) ## generate docs/config.md and docs/config.schema.json from the definitions
	@mkdir -p docs
	$(WITGATE) config reference > docs/config.md
	$(WITGATE) config schema > docs/config.schema.json

.PHONY: fmt
fmt: ## format host, tests and plugins
	cargo fmt --all
	cargo fmt --all --manifest-path plugins/Cargo.toml

.PHONY: fmt-check
fmt-check:
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path plugins/Cargo.toml

.PHONY: lint
lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

$(TARGET)/debug/witgate:
	cargo build --locked -p witgate

$(TARGET)/release/witgate:
	cargo build --release --locked -p witgate

# The SDKs are pinned; a change of the pins installs them again.
$(TARGET)/venv-sdk/ready: tests/sdk/python/requirements.txt tests/vendors/requirements.txt
	@tests/tools/setup.sh sdk
	python3 -m venv --clear $(TARGET)/venv-sdk
	$(TARGET)/venv-sdk/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$^)
	@touch $@

# LiteLLM's client needs an older openai than the SDK under test.
$(TARGET)/venv-management/ready: tests/sdk/management/requirements.txt
	@tests/tools/setup.sh sdk
	python3 -m venv --clear $(TARGET)/venv-management
	$(TARGET)/venv-management/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NODE_MODULES): %/node_modules/.package-lock.json: %/package-lock.json
	@tests/tools/setup.sh sdk
	cd $* && $(NPM) ci
	@touch $@

$(TARGET)/venv-litellm/ready: tests/bench/requirements.txt
	python3 -m venv --clear $(TARGET)/venv-litellm
	$(TARGET)/venv-litellm/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
