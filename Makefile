# LesionLoop: `make demo` shows it working, `make test` checks it. Both set everything up first.
#
# Variables: PYTHON      the Python 3.11 to build .venv with            (python3.11)
#            STUDIES     a folder of studies for the demo               (phantoms it makes itself)
#            PORT        the demo server's port                         (8000)
#            TORCH_ARGS  pip options for the torch step, such as --index-url of CPU-only builds
#            PYTEST_ARGS more options for pytest

PYTHON ?= python3.11
PORT ?= 8000
TORCH_VERSION := 2.13.0
# Relative on purpose: a repository path with blanks in it works.
VENV := .venv
PY := $(VENV)/bin/python

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint pictures clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(VENV)/.stamp-project ## Make .venv with everything in it (minutes the first time, then nothing)

demo: setup ## Serve the models on 127.0.0.1 and try each one: make demo [STUDIES=folder] [PORT=8000]
	$(VENV)/bin/lesionloop demo --port $(PORT) $(if $(STUDIES),--studies "$(STUDIES)")

test: lint ## Check style and types, then run every test, two files at a time (about half an hour on two cores)
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 $(PYTEST_ARGS)

lint: setup ## Check style and types only
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

pictures: setup ## Take the screenshots in docs/images anew, from the browser tests of the loop and the report
	LESIONLOOP_ARTEFACTS=build/pictures $(PY) -m pytest -q tests/browser/test_correct_and_train.py -k "loop and embedded"
	LESIONLOOP_ARTEFACTS=build/pictures $(PY) -m pytest -q -k signed tests/browser/test_report_drafted.py tests/browser/test_report_in_ohif.py tests/browser/test_reports_page.py
	cp build/pictures/report-*.png build/pictures/ohif-found.png build/pictures/ohif-submitted.png build/pictures/ohif-trained.png docs/images/

clean: ## Remove .venv, caches and what the demo wrote
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each step leaves a stamp when it is done, so an interrupted setup goes on where it stopped.
$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 is needed, and '$(PYTHON)' is not it. Install Python 3.11 (Debian 12: apt-get install python3.11" >&2; \
	  echo "python3.11-venv) or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt-get install python3.11-venv" >&2; exit 1; }
	@echo "[1/4] Making $(VENV) (seconds)"
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.stamp-torch-$(TORCH_VERSION): $(VENV)/.stamp-venv
	@echo "[2/4] Installing torch $(TORCH_VERSION) by itself (1-10 minutes: 200 MB for a CPU build, 3 GB with CUDA)"
	@$(PY) -m pip install $(TORCH_ARGS) torch==$(TORCH_VERSION)
	@touch $@

$(VENV)/.stamp-lock: $(VENV)/.stamp-torch-$(TORCH_VERSION) requirements.lock
	@echo "[3/4] Installing the $$(grep -c '^[A-Za-z]' requirements.lock) packages of requirements.lock (2-5 minutes)"
	@$(PY) -m pip install --no-deps -r requirements.lock
	@touch $@

$(VENV)/.stamp-project: $(VENV)/.stamp-lock pyproject.toml
	@echo "[4/4] Installing LesionLoop itself, from this folder (seconds)"
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
