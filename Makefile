# `make` alone lists the targets. Everything is installed into .venv.

PYTHON ?= python3
# The version that the tests were written with. Set TORCH to use another one.
TORCH ?= torch==2.13.0
RECIPE ?= recipes/digits.toml
PYTEST_ARGS ?=
REPORT ?= runs/gpu-check.json

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
BACKENDS := jax tensorflow torch
# In processes of their own: each compiled attack keeps memory maps, and Linux allows a
# process 65530.
ATTACKS := tests/kmtard/attacks
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help env demo digits-table fashion-table \
        check lint types contracts tests $(BACKENDS:%=test-%) \
        docs test-launcher check-slow gpu-check format clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# venv installs pip last. Without pip the environment is incomplete and is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Expected Python 3.11, 3.12 or 3.13. Received '$(PYTHON)':"; \
	  $(PYTHON) --version; \
	  echo "Use another one, such as: make PYTHON=python3.11 $(MAKECMDGOALS)"; \
	  exit 1; } >&2
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.user: pyproject.toml | $(BIN)/pip
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	$(PIP) '$(TORCH)' --editable '.[jax,dev,docs]'
	@touch $@

env: $(VENV)/.dev  ## Create .venv with all backends and the development tools

demo: $(VENV)/.user  ## Train two teachers and a B-MTARD student on the digits
	$(BIN)/python -m kmtard.fit $(RECIPE)

# Killed at any time, each of them goes on where it is called again.
digits-table: env  ## Train every method on the digits with 5 seeds; README's table
	$(BIN)/python -m kmtard.study $(RECIPE) table3 --seeds 0-4 \
	  --set runtime.backend=jax --set 'runtime.jit="auto"' \
	  --set runtime.runs_dir=runs/table

fashion-table: env  ## Train six methods on 15,000 Fashion-MNIST images, 3 seeds
	$(BIN)/python -m kmtard.study recipes/fashion_mnist.toml --seeds 0-2 \
	  --methods b_mtard,baseline,mtard,baseline_ebb,rslad,trades \
	  --set data.limit=15000 --set runtime.runs_dir=runs/fashion

check: lint types contracts docs tests  ## Run all checks: lint, types, contracts, docs, tests

lint: env  ## Check format and style with ruff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env  ## Check types with mypy
	$(BIN)/mypy

contracts: env  ## Check which modules import which, with import-linter
	$(BIN)/lint-imports

docs: env  ## Build the documentation into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

tests: env  ## Run the tests on every backend, and those of the launcher
	@failed=; for part in $(BACKENDS) launcher; do \
	  $(MAKE) --no-print-directory test-$$part || failed="$$failed $$part"; \
	done; \
	test -z "$$failed" || { echo "Tests failed on:$$failed" >&2; exit 1; }

$(BACKENDS:%=test-%): test-%: env
	@echo "== Tests on $*"
	@failed=; \
	for part in $(ATTACKS) '--ignore tests/launcher --ignore $(ATTACKS)'; do \
	  KERAS_BACKEND=$* $(PYTEST) $$part $(PYTEST_ARGS) || test $$? -eq 5 || failed=yes; \
	done; \
	test -z "$$failed"

test-launcher: env
	@echo "== Tests of the launcher"
	@KERAS_BACKEND=jax $(PYTEST) tests/launcher $(PYTEST_ARGS)

check-slow:  ## Run the slow tests on every backend
	@$(MAKE) --no-print-directory tests PYTEST_ARGS='-m slow $(PYTEST_ARGS)'

gpu-check:  ## Measure this GPU with the packages that PYTHON has; installs nothing
	$(PYTHON) -m kmtard.benchmark --device-report $(REPORT)

format: env  ## Format the code and apply automatic fixes of ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove .venv and caches, but not runs/
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
