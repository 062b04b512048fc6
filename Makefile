# Everything from a fresh machine with Python 3.11, git and make: `make demo`, `make test`. See CONTRIBUTING.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

UV_VERSION := 0.13.9
BIN := .venv/bin
STAMP := .venv/.installed
ROOMS := __init__.py pipelines transforms encoders index_builders infra tests docs examples setup.py
# Tests on real data run where TRICHORD_SAMPLE names the folder; those of a GPU or a server by targets of their own.
MARKS := not gpu and not server and not cluster and not sweep and not full and not sample
REST := not gpu and not server and not cluster and not sweep and (full$(if $(TRICHORD_SAMPLE), or sample))
LINT := $(BIN)/ruff check $(ROOMS) && $(BIN)/ruff format --check $(ROOMS) && $(BIN)/mypy
# More processes than cores: tests of clusters and of killed processes wait more than they compute.
PYTEST_ARGS ?= -n 4 --dist loadgroup --no-loadscope-reorder

.PHONY: help .venv demo test test-all test-sweeps test-server test-cluster test-gpu lint format docs docs-site lock sbom audit bench clean

help: ## Show what can be made
	@grep -hE '^[.a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.venv: $(STAMP) ## Build the environment from the lock file, and the command .venv/bin/trichord

# The first of these that really is Python 3.11: a pyenv shim may be found but not run.
$(STAMP): requirements.lock requirements-annoy.lock setup.py
	@for python in python3.11 python3 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "Python 3.11 is needed and neither python3.11, python3 nor python is one." >&2; \
	    echo "Next: install it (Debian, Ubuntu: apt-get install python3.11 python3.11-venv) and make again." >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	    && ! $$found -m venv --clear .venv; then \
	    echo "$$found has no venv module. Next: apt-get install python3.11-venv, and make again." >&2; exit 1; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
# Annoy has no wheels: it is built where there is a C++ compiler, and its tests are left out where there is none.
	@if command -v c++ >/dev/null; then \
	    $(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --require-hashes --requirement requirements-annoy.lock; \
	else echo "No C++ compiler (c++) found: Annoy is not installed and its tests are skipped."; fi
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@mkdir -p .venv/src && ln -sfn ../.. .venv/src/trichord  # the package under its own name, for mypy and the contracts
	@touch $@

demo: $(STAMP) ## Clean, train, index and search the synthetic corpus
	$(BIN)/trichord demo

# mypy has one thread and takes as long as a tenth of the tests, so it runs beside them.
test: $(STAMP) ## Every check, and the tests that need no accelerator, server or sample
	@{ $(LINT); } > .venv/lint.log 2>&1 & lint=$$!; \
	tests=0; $(BIN)/python -m pytest -m "$(MARKS)" $(PYTEST_ARGS) || tests=$$?; \
	wait $$lint && linted=0 || linted=$$?; cat .venv/lint.log; exit $$((tests ? tests : linted))

test-all: test ## `make test`, then the sweeps in full and, with TRICHORD_SAMPLE, the tests on real data
	$(BIN)/python -m pytest -m "$(REST)" $(PYTEST_ARGS)

test-sweeps: $(STAMP) ## Faults of every kind at every point: an hour
	$(BIN)/python -m pytest -m sweep -n 1

test-server: $(STAMP) ## The tests that start a real server: Milvus, Prometheus (apt-get install prometheus)
	$(BIN)/python -m pytest -m server -n 0

test-cluster: $(STAMP) ## The tests that start a Ray cluster of three nodes, as root: half an hour
	$(BIN)/python -m pytest -m cluster -n 0

test-gpu: $(STAMP) ## The tests that need an accelerator
	$(BIN)/python -m pytest -m gpu $(PYTEST_ARGS)

lint: $(STAMP) ## ruff and mypy (the import contracts run with the tests)
	$(LINT)

format: $(STAMP) ## Put the code into one form
	$(BIN)/ruff check --fix $(ROOMS)
	$(BIN)/ruff format $(ROOMS)

docs: $(STAMP) ## Write docs/configuration.md from the types
	$(BIN)/python -m trichord.infra.reference > .venv/configuration.md
	mv .venv/configuration.md docs/configuration.md

docs-site: $(STAMP) ## Build the documentation as a site in build/site, refusing any warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

COMPILE = $(BIN)/uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet
IMAGES := infra/deploy/docker

lock: ## Resolve requirements.lock again; `make lock UPGRADE=--upgrade` takes newer versions
	$(COMPILE) setup.py --extra cpu --extra milvus --extra ray --extra events --extra observability --extra beam --extra tune --extra rag --extra tensorboard --extra docs --extra dev $(UPGRADE) \
	    --output-file requirements.lock
# Of the images: without milvus-lite, which would bring faiss-cpu into the one for GPUs.
	echo pymilvus | $(COMPILE) setup.py - --extra ray --extra events --extra observability --constraint requirements.lock \
	    --output-file $(IMAGES)/requirements.lock
	for kind in cpu gpu; do \
	    echo faiss-$$kind | $(COMPILE) - --constraint requirements.lock --output-file $(IMAGES)/faiss-$$kind.lock; \
	done

sbom: $(STAMP) ## List what is shipped with Trichord as CycloneDX: build/sbom.json
	$(BIN)/python -m tests.supply_chain build/sbom.json

# --strict: a package of which the service knows nothing, or a service that does not answer, is an error, not a pass.
audit: $(STAMP) ## Ask the advisory service of PyPI about every locked version (needs the network)
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict --progress-spinner off \
	    || { echo "Not audited, or vulnerable: see above. Next: make lock UPGRADE=--upgrade, or make audit where pypi.org can be reached." >&2; exit 1; }

bench: $(STAMP) ## Throughput of prepare against a bare decoding loop
	$(BIN)/python -m tests.bench.prepare --json

clean: ## Remove the environment and every cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
