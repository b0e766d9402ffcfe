# The commands of this repository, for people and CI. `make` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
RUNNER ?= process
DATA ?=
# More options of the command, such as ARGS='--set column=merchant=TERMINAL_ID'.
ARGS ?=
VERSION ?= dev
export VERSION
# In a network with its own certificate authority, image builds need the same bundle as the shell.
export CA_BUNDLE ?= $(SSL_CERT_FILE)

BIN := .venv/bin
UV := $(BIN)/uv
SETUP := .venv/.set-up
# Only pipeline.py needs the SageMaker SDK, which is larger than everything else: it has its own environment.
PIPELINE := .venv-pipeline/.set-up
# The libraries that the benchmarks compare with have their own environment, too.
BENCH := .venv-bench/.set-up
# So does Spark, with a Java to run it.
SPARK := .venv-spark/.set-up
# AWS's own Lambda emulator; it is part of a wheel that is unpacked but not installed.
EMULATOR := .venv/bin/aws-lambda-rie
ASL_VALIDATOR := asl-validator@4.0.0
# `make check` runs these folders; their tests that take seconds each are marked "integration".
UNITS := $(addprefix tests/,catalog runtime entrypoints etl features model train monitor score documents)
FAST := not slow and not spark and not docker and not pipeline and not integration
COMPILE := $(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml
# $(call lock,EXTRA,FILE,FILES BELOW): no layer installs again what a layer below it has.
lock = $(COMPILE) --extra $(1) -o containers/$(2) --only-binary :all: --no-emit-package fraudline \
	--python-version 3.13 --python-platform x86_64-manylinux_2_28 $(3:%=--constraint containers/%) \
	$$(cat /dev/null $(3:%=containers/%) | grep -oE '^[a-z0-9-]+' | sed 's/^/--no-emit-package /')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: setup
setup: $(SETUP) ## create .venv, with everything that development needs

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
pipeline-setup: $(PIPELINE) ## create .venv-pipeline, in which pipeline.py runs

.PHONY: spark-setup
spark-setup: $(SPARK) ## create .venv-spark, in which the Spark engine and the Glue jobs run

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
run: $(SETUP) $(if $(filter docker,$(RUNNER)),images) ## train, deploy on this computer and score a day [DATA=folder] [RUNNER=docker]
	$(BIN)/fraudline demo --in $(RUNNER) --version $(VERSION) $(if $(DATA),--data $(DATA)) $(ARGS)

.PHONY: test
test: $(SETUP) $(PIPELINE) $(SPARK) $(EMULATOR) ## run every test; image tests need a Docker engine, publishing tests docker-registry
	@without=; why=; \
	if ! docker version >/dev/null 2>&1; then \
		without='and not docker'; why='a Docker engine, for the image tests: start one, or run make engine'; \
	elif ! command -v docker-registry >/dev/null || [ "$$(id -u)" != 0 ]; then \
		without='and not registry'; why='root or the package docker-registry, for the publishing tests'; fi; \
	if [ -n "$$why" ] && [ -n "$${CI:-}" ]; then echo "Tests can't run without $$why" >&2; exit 1; fi; \
	if [ "$$without" != 'and not docker' ]; then $(MAKE) --no-print-directory images; fi; \
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow and not spark $$without"; \
	.venv-spark/bin/pytest --engines=spark -m "not slow" tests/engines tests/glue; \
	if [ -n "$$why" ]; then echo "Some tests did not run without $$why"; fi

.PHONY: check
check: $(SETUP) ## check format, style and types and run the unit tests, in about a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q --numprocesses auto --dist loadfile -m "$(FAST)" $(UNITS)

# The parts of `make test`, for jobs that run side by side in CI.
.PHONY: test-local
test-local: $(SETUP) ## run the tests that need no Docker, Spark or SageMaker SDK
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow and not spark and not docker and not pipeline"

.PHONY: test-images
test-images: $(SETUP) $(SPARK) $(EMULATOR) images ## run the tests of the images (as root, with Docker and docker-registry)
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "docker and not slow and not spark and not pipeline"

.PHONY: test-spark
test-spark: $(SPARK) ## run the tests of the Spark engine and the Glue jobs
	.venv-spark/bin/pytest --engines=spark -m "not slow" tests/engines tests/glue

.PHONY: test-pipelines
test-pipelines: $(SETUP) $(PIPELINE) images ## run the tests of the SageMaker pipelines (with Docker)
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "pipeline and not slow"

.PHONY: lint
lint: $(SETUP) ## check style, types, imports, scripts, workflows and the stack
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/shellcheck .ci/run .ci/engine containers/base/install
	$(BIN)/hadolint containers/*/Dockerfile
	$(BIN)/zizmor --quiet --offline --no-progress .github/workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[bf]*.yml
	$(BIN)/cfn-lint glue/*.yaml
	@if command -v npm >/dev/null; then set -x; for definition in glue/state_machines/*.asl.json; do \
		npm exec --yes --package=$(ASL_VALIDATOR) -- asl-validator --silent --json-path $$definition; done; \
	else echo "asl-validator did not check glue/state_machines: it needs npm"; fi

.PHONY: wheel
wheel: $(SETUP) ## build the wheel for AWS Glue, into dist/
	rm -f dist/fraudline-*.whl
	$(BIN)/hatchling build --target wheel --directory dist

.PHONY: images
images: ## build the four stage images
	docker buildx bake

.PHONY: publish
publish: ## push the images that were built and tested as VERSION [REGISTRY=prefix/] [VERSION=1.2.3]
	@.ci/publish '$(REGISTRY)' '$(VERSION)'

.PHONY: deploy
deploy: wheel ## deploy glue/stack.yaml with the published images [ARGS='--dry-run --set PARAMETER=VALUE']
	$(BIN)/python glue/deploy.py deploy $(ARGS)

.PHONY: destroy
destroy: $(SETUP) ## delete that stack, but not its buckets, tables and key [ARGS=--dry-run]
	$(BIN)/python glue/deploy.py destroy $(ARGS)

.PHONY: bench
bench: $(SETUP) ## measure both workflows: seconds, CPU and memory per stage, and detection [DATA=folder]
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA)) $(ARGS)

.PHONY: bench-features
bench-features: $(BENCH) ## measure the features against pandas, DuckDB and polars, with more rows, and for a day [DATA=folder]
	.venv-bench/bin/python -m benchmarks.features --data $(DATA) $(ARGS)

.PHONY: docs
docs: $(SETUP) ## write the generated documents
	$(BIN)/python -m tools.documents

.PHONY: cost
cost: $(SETUP) ## estimate the monthly cost on AWS [TRANSACTIONS=50000] [ARGS=--endpoint]
	$(BIN)/python -m tools.cost --transactions $(or $(TRANSACTIONS),50000) $(ARGS)

.PHONY: golden
golden: $(SETUP) $(PIPELINE) ## rewrite the golden files; read the difference before committing it
	$(BIN)/pytest -q tests/golden --update-golden

.PHONY: engine
engine: ## start a Docker engine on Debian 12 or 13 (as root)
	.ci/engine

.PHONY: verify
verify: $(SETUP) $(PIPELINE) $(SPARK) images ## run the long tests: 10,000 cases of the feature laws, all of some real data [DATA=folder]
	FRAUDLINE_CASES=10 $(BIN)/pytest tests/engines
	FRAUDLINE_DATA='$(DATA)' $(BIN)/pytest -m "slow and not spark"
	FRAUDLINE_DATA='$(DATA)' .venv-spark/bin/pytest -m slow tests/glue

.PHONY: lock
lock: $(UV) ## pin every dependency again
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
clean: ## remove everything that was built, environments included
	rm -rf .venv .venv-* var dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
