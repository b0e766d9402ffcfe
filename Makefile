# Fraudline: what a person or CI runs. `make` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
RUNNER ?= process
DATA ?=
# Further options of the command, such as ARGS='--set column=merchant=TERMINAL_ID'.
ARGS ?=
VERSION ?= dev
# An engine listens where the client looks by itself, unless the environment says otherwise.
export VERSION
# Behind a network with an authority of its own, image builds need its bundle as the shell does.
export CA_BUNDLE ?= $(SSL_CERT_FILE)

BIN := .venv/bin
UV := $(BIN)/uv
SETUP := .venv/.set-up
# The SageMaker SDK is larger than all the rest and only pipeline.py needs it: it has an environment of its own.
PIPELINE := .venv-pipeline/.set-up
# So have the peers that the benchmarks measure against.
BENCH := .venv-bench/.set-up
# So has Spark, with a Java to run it.
SPARK := .venv-spark/.set-up
# AWS's own emulator of Lambda, which ships inside of a wheel that is not installed.
EMULATOR := .venv/bin/aws-lambda-rie
ASL_VALIDATOR := asl-validator@4.0.0
COMPILE := $(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml
# $(call lock,EXTRA,FILE,FILES BELOW): what a layer below holds, no layer above installs again.
lock = $(COMPILE) --extra $(1) -o containers/$(2) --only-binary :all: --no-emit-package fraudline \
	--python-version 3.13 --python-platform x86_64-manylinux_2_28 $(3:%=--constraint containers/%) \
	$$(cat /dev/null $(3:%=containers/%) | grep -oE '^[a-z0-9-]+' | sed 's/^/--no-emit-package /')

.PHONY: help
help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: setup
setup: $(SETUP) ## make .venv with all that development needs

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, got $$($(PYTHON) --version); name one with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(SETUP): $(UV) pyproject.toml requirements-dev.txt
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: pipeline-setup
pipeline-setup: $(PIPELINE) ## make .venv-pipeline, in which pipeline.py runs

.PHONY: spark-setup
spark-setup: $(SPARK) ## make .venv-spark, in which the Spark engine and the Glue jobs run

.venv-%/.set-up: $(UV) pyproject.toml requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	$(UV) pip sync --quiet --python .venv-$*/bin/python --require-hashes requirements-$*.txt
	$(UV) pip install --quiet --python .venv-$*/bin/python --no-deps --editable .
	@touch $@

$(EMULATOR): $(UV) requirements-emulator.txt
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d .venv/emulator \
		-r requirements-emulator.txt
	$(BIN)/python -m zipfile -e .venv/emulator/aws_sam_cli-*.whl .venv/emulator
	install .venv/emulator/samcli/local/rapid/aws-lambda-rie-x86_64 $@ && rm -r .venv/emulator

.PHONY: run
run: $(SETUP) $(if $(filter docker,$(RUNNER)),images) ## train, deploy here and score a day [DATA=folder] [RUNNER=docker]
	$(BIN)/fraudline demo --in $(RUNNER) --version $(VERSION) $(if $(DATA),--data $(DATA)) $(ARGS)

.PHONY: test
test: $(SETUP) $(PIPELINE) $(SPARK) $(EMULATOR) ## every test; those of the images need a Docker engine, those of publishing docker-registry
	@without=; why=; \
	if ! docker version >/dev/null 2>&1; then \
		without='and not docker'; why='a Docker engine: the tests of the images. Start one, or: make engine'; \
	elif ! command -v docker-registry >/dev/null || [ "$$(id -u)" != 0 ]; then \
		without='and not registry'; why='root, or the package docker-registry: the tests of publishing'; fi; \
	if [ -n "$$why" ] && [ -n "$${CI:-}" ]; then echo "Can't run, for want of $$why" >&2; exit 1; fi; \
	if [ "$$without" != 'and not docker' ]; then $(MAKE) --no-print-directory images; fi; \
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow and not spark $$without"; \
	.venv-spark/bin/pytest --engines=spark -m "not slow" tests/engines tests/glue; \
	if [ -n "$$why" ]; then echo "Not run, for want of $$why"; fi

.PHONY: lint
lint: $(SETUP) ## style, types, the direction of imports, scripts, the stack
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/shellcheck .ci/run .ci/engine containers/base/install
	$(BIN)/hadolint containers/*/Dockerfile
	$(BIN)/zizmor --quiet --offline --no-progress .github/workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/cfn-lint glue/*.yaml
	@if command -v npm >/dev/null; then set -x; for machine in glue/state_machines/*.asl.json; do \
		npm exec --yes --package=$(ASL_VALIDATOR) -- asl-validator --silent --json-path $$machine; done; \
	else echo "Not run, for want of npm: asl-validator over glue/state_machines"; fi

.PHONY: wheel
wheel: $(SETUP) ## build the wheel that AWS Glue takes, into dist/
	rm -f dist/fraudline-*.whl
	$(BIN)/hatchling build --target wheel --directory dist

.PHONY: images
images: ## build the four stage images
	docker buildx bake

.PHONY: publish
publish: ## push the images that were built and tested as VERSION [REGISTRY=prefix/] [VERSION=1.2.3]
	@.ci/publish '$(REGISTRY)' '$(VERSION)'

.PHONY: deploy
deploy: wheel ## deploy glue/stack.yaml with the images that were published [ARGS='--dry-run --set PARAMETER=VALUE']
	$(BIN)/python glue/deploy.py deploy $(ARGS)

.PHONY: destroy
destroy: $(SETUP) ## delete that stack; what is kept, its buckets, tables and key, stays [ARGS=--dry-run]
	$(BIN)/python glue/deploy.py destroy $(ARGS)

.PHONY: bench
bench: $(SETUP) ## both workflows measured: seconds, CPU and memory a stage, and the quality [DATA=folder]
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA)) $(ARGS)

.PHONY: bench-features
bench-features: $(BENCH) ## the features against pandas, DuckDB and polars, with more rows, and for one day [DATA=folder]
	.venv-bench/bin/python -m benchmarks.features --data $(DATA) $(ARGS)

.PHONY: docs
docs: $(SETUP) ## write the generated documents
	$(BIN)/python -m tools.documents

.PHONY: cost
cost: $(SETUP) ## estimate the monthly cost on AWS [TRANSACTIONS=50000] [ARGS=--endpoint]
	$(BIN)/python -m tools.cost --transactions $(or $(TRANSACTIONS),50000) $(ARGS)

.PHONY: golden
golden: $(SETUP) $(PIPELINE) ## write the golden files anew; read the difference before committing it
	$(BIN)/pytest -q tests/golden --update-golden

.PHONY: engine
engine: ## bring up a Docker engine on Debian 12 or 13 (as root)
	.ci/engine

.PHONY: verify
verify: $(SETUP) $(PIPELINE) $(SPARK) images ## what takes long: 10,000 cases of the feature laws, the whole of some real data [DATA=folder]
	FRAUDLINE_CASES=10 $(BIN)/pytest tests/engines
	FRAUDLINE_DATA='$(DATA)' $(BIN)/pytest -m "slow and not spark"
	FRAUDLINE_DATA='$(DATA)' .venv-spark/bin/pytest -m slow tests/glue

.PHONY: lock
lock: $(UV) ## pin every dependency anew
	$(COMPILE) --extra dev -o requirements-dev.txt --no-emit-package fraudline --universal --python-version 3.11
	$(COMPILE) --extra pipeline -o requirements-pipeline.txt --no-emit-package fraudline --universal --python-version 3.11
	$(COMPILE) --extra bench -o requirements-bench.txt --no-emit-package fraudline --universal --python-version 3.11
	$(COMPILE) --extra spark-dev -o requirements-spark.txt --no-emit-package fraudline --universal --python-version 3.11
	$(call lock,etl,base/requirements.txt,)
	$(call lock,features,base/arrays.txt,base/requirements.txt)
	$(call lock,forest,base/forest.txt,base/requirements.txt base/arrays.txt)
	for image in etl features train score; do \
		$(call lock,$$image,$$image/requirements.txt,base/requirements.txt base/arrays.txt base/forest.txt); \
	done

.PHONY: clean
clean: ## remove what was made here, the environment too
	rm -rf .venv .venv-* var dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
