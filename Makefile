# Works on a machine that has git, make and python3: uv comes into a folder of the checkout, nothing is installed globally.
UV := .tools/uv/bin/uv
BIN := .venv/bin
CRATE := $(wildcard native/*.toml native/Cargo.lock native/*.pyi native/src/*.rs native/src/*/*.rs)

# The compiled transcoder is built where there is a cargo for it; NATIVE= leaves it out.
CARGO := $(shell tools/cargo)
NATIVE := $(CARGO)
STAMP := .tools/synced$(if $(NATIVE),-native)
ifneq ($(NATIVE),)
export PATH := $(dir $(CARGO)):$(PATH)
EXTRAS := --extra native
endif

# Trust what the machine trusts (a company's own certificates), and compile once instead of at every start: 0.15 s of each.
export UV_SYSTEM_CERTS := true
export UV_COMPILE_BYTECODE := true
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup native emulators deploy-tools render demo test check format lint types contracts crate simulate chaos bench clean

help:           ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(STAMP) native ## the environment in .venv, from the lock file

$(UV):
	python3 tools/bootstrap.py

$(STAMP): $(UV) pyproject.toml uv.lock $(if $(NATIVE),$(CRATE))
	$(UV) sync --locked --quiet $(EXTRAS)
	@rm -f .tools/synced*
	@touch $@

native: $(STAMP) ## the compiled transcoder, which is a part of the environment where there is cargo
ifeq ($(NATIVE),)
	@echo "There is no cargo for it here: the compiled transcoder is left out, and everything runs in Python."
else
	@$(BIN)/python -c "import headrace_native as it; print('The compiled transcoder is built:', it.__version__)"
endif

emulators: $(UV) ## local AWS look-alikes for demo and tests, in an environment of their own
	tools/emulators/install

deploy-tools: $(UV) ## helm, promtool, hadolint, docker-compose and schemas, for the tests of what is deployed
	python3 tools/deploy/install.py

render: $(STAMP) deploy-tools ## what follows from something else: boards, alerts, the chart's schema and README, manifests
	PYTHONPATH=tools $(BIN)/python -m render

demo: $(STAMP) emulators ## two workers on a local stack, 40,000 records, and a proof that nothing was lost
	$(BIN)/headrace demo

test: $(STAMP) emulators deploy-tools ## all tests, three files at a time: two processors are busy while the third file waits
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: native format lint types contracts crate test ## what CI runs

format: $(STAMP)
	$(BIN)/ruff format --check

lint: $(STAMP)
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

crate:          ## format, lint and tests of the crate, where there is cargo
ifneq ($(NATIVE),)
	cd native && if $(CARGO) fmt --version >/dev/null; then $(CARGO) fmt --check; fi
	cd native && if $(CARGO) clippy --version >/dev/null; then $(CARGO) clippy --locked --all-targets --quiet -- -D warnings; fi
	cd native && $(CARGO) test --locked --no-default-features --quiet
endif

RUNS ?= 1000
SEED ?= 1
simulate: $(STAMP) ## fleets under seeded faults: RUNS, SEED, JOBS; SEED=n RUNS=1 OPTIONS=--trace to see one again
	@PYTHONPATH=tests $(BIN)/python -m simulation --runs $(RUNS) --seed $(SEED) $(if $(JOBS),--jobs $(JOBS)) $(OPTIONS)

MINUTES ?= 5
WORKERS ?= 4
SHARDS ?= 8
SCENARIO ?= chaos
ORDER ?= before
chaos: $(STAMP) emulators ## real workers behind proxies under seeded faults: MINUTES, SEED, WORKERS, SHARDS; SCENARIO=rolling
	PYTHONPATH=tests $(BIN)/python -m chaos --scenario $(SCENARIO) --order $(ORDER) --workers $(WORKERS) \
		--shards $(SHARDS) --minutes $(MINUTES) --seed $(SEED) $(OPTIONS)

bench: $(STAMP) native emulators ## CPU per record, beside a stock aiobotocore loop in the same run
	$(BIN)/python -m benchmarks

clean:          ## remove what the other targets made
	rm -rf .venv .tools .demo native/target tools/emulators/.venv tools/emulators/node_modules tools/deploy/.venv tools/deploy/bin
