# Every target sets up .venv by itself, and again only after pyproject.toml has changed.
# Settings: make serve PORT=9000, make test PYTHON=python3.12

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
GRPC_PORT ?= 8001
SECONDS ?= 300

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.DEFAULT_GOAL := help
.PHONY: help serve test lint bench soak proto studio clean

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

serve: $(VENV)/.serve ## Serve the bundled model on http://HOST:PORT, and gRPC on GRPC_PORT
	$(BIN)/hdsynth serve --host $(HOST) --port $(PORT) --grpc-port $(GRPC_PORT)

test: $(VENV)/.dev ## Run all tests
	$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev ## Check style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## Measure the bundled model here; writes docs/benchmarks/
	$(BIN)/hdsynth bench engine --sizes 256x256 --sizes 512x512 --batches 1,4 -o docs/benchmarks/engines.md
	$(BIN)/hdsynth bench encoders -o docs/benchmarks/encoders.md

soak: $(VENV)/.dev ## Load, faults and bad input for SECONDS (300); writes docs/reliability/
	$(BIN)/python tests/soak/soak.py --seconds $(SECONDS) -o docs/reliability

proto: $(VENV)/.dev ## Write the Python stubs of the .proto files
	PYTHON=$(CURDIR)/$(BIN)/python proto/generate.sh

studio: ## Build the studio's page from its TypeScript; needs node
	cd studio && npm ci && npm run build

clean: ## Remove the environment, build products and caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# Serving needs no torch, so it installs the base, ONNX Runtime and OpenVINO only.
$(VENV)/.serve: pyproject.toml | $(BIN)/python
	@echo "Installing hdsynth for serving into $(VENV) ..."
	$(INSTALL) '.[cpu,openvino]'
	@touch $@

# The development set holds all of the serving set, so `make serve` after `make test` is ready too.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing hdsynth for development into $(VENV) ..."
	$(INSTALL) '.[dev]'
	@touch $(VENV)/.serve $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "hdsynth needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
