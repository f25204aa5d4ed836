# make run             install what is missing, migrate, serve at http://127.0.0.1:8000
# make run LIGHT=1     the same without torch, diffusers and onnxruntime (the built-in engine needs none)
# make test            install what is missing, run the tests
PYTHON ?= python3.11
HOST ?= 127.0.0.1
PORT ?= 8000
LIGHT ?=
VENV := .venv
BIN := $(VENV)/bin
# --only-binary: everything we need has wheels, so no compiler is ever asked for.
INSTALL := $(BIN)/pip install --disable-pip-version-check --quiet --only-binary :all: --constraint constraints.txt
comma := ,
EXTRAS := $(if $(LIGHT),,diffusion$(comma)erase)

.PHONY: run test lint install install-dev
.DEFAULT_GOAL := run

run: install
	@$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

test: install-dev
	$(BIN)/python -m pytest

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive accounts dreamlayer_site inpainting manage.py
	$(BIN)/python manage.py makemigrations --check --dry-run
	DREAMLAYER_BEHIND_TLS=1 $(BIN)/python manage.py check --deploy --fail-level WARNING

install: $(VENV)/installed-run$(LIGHT)
install-dev: $(VENV)/installed-dev$(LIGHT)

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "DreamLayer needs Python 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-run$(LIGHT): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing DreamLayer into $(VENV); the first time takes a minute or more."
	$(INSTALL) --editable ".$(if $(EXTRAS),[$(EXTRAS)])"
	@touch $@

$(VENV)/installed-dev$(LIGHT): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing DreamLayer and its tests into $(VENV); the first time takes a minute or more."
	$(INSTALL) --editable ".[dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	@touch $@ $(VENV)/installed-run$(LIGHT)
