# Needs only Python 3.11+ with venv, and make. `make help` lists the commands.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
SETUP := pyproject.toml constraints.txt
# ModelOpt's own environment: it pins other versions of onnx and ONNX Runtime than ours.
TRTLAB_MODELOPT ?= .modelopt

.PHONY: help lab test check check-bindings demo bench modelopt clean
help:
	@echo "make lab     set up, then open the workbench in JupyterLab (ARGS=--no-browser only serves, --kiosk: the screen alone)"
	@echo "make test    set up, then run make check and all tests (browser tests need a Chromium)"
	@echo "make demo    set up, then sweep two networks and write trtlab-demo.html"
	@echo "make check   ruff, mypy, import-linter, notebook hygiene"
	@echo "make check-bindings  hold the hand-written types against other TensorRT versions (needs a network)"
	@echo "make bench   run the performance benchmarks and print their table"
	@echo "make modelopt  set up NVIDIA's ModelOpt in .modelopt, 6.5 GB (TRTLAB_MODELOPT names another folder)"
	@echo "PYTHON=python3.12 chooses another interpreter for the set-up"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "trtlab needs Python 3.11 or newer; $(PYTHON) is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { \
	  echo "$(PYTHON) has no venv. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# Each stamp is touched last, so an interrupted set-up is resumed and a finished one is skipped.
$(VENV)/.lab-ready: $(SETUP) | $(BIN)/python
	@echo "Setting up the workbench once: about 0.65 GB on disk, 1 to 5 minutes with a fast network."
	@$(PIP) --editable '.[cpu,lab]'
	@echo "Adding TensorRT-RTX (about 280 MB), which builds real engines without a GPU."
	@$(PIP) --editable '.[rtx]' || echo "TensorRT-RTX has no wheel for this platform (pip says why above); going on without it."
	@touch $@

$(VENV)/.test-ready: $(VENV)/.lab-ready
	@echo "Adding the test tools once: about 0.55 GB on disk, 1 to 3 minutes."
	@$(PIP) --editable '.[test,dev]'
	@touch $@

lab: $(VENV)/.lab-ready
	@$(BIN)/trtlab lab $(ARGS)

demo: $(VENV)/.lab-ready
	@$(BIN)/trtlab demo $(ARGS)

check: $(VENV)/.test-ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/nbstripout --verify notebooks/*.ipynb

check-bindings: $(VENV)/.test-ready
	@$(BIN)/python -m tests.bindings

test: check
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.test-ready
	@$(BIN)/python -m benchmarks $(ARGS)

# The stamp bears the version, so that another one is installed when it changes here.
$(TRTLAB_MODELOPT)/.ready-0.47.0:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || { \
	  echo "ModelOpt needs Python 3.10 to 3.14 with venv; $(PYTHON) is not. Try: make PYTHON=python3.12 modelopt"; exit 1; }
	@echo "Setting up ModelOpt once in $(TRTLAB_MODELOPT): about 6.5 GB on disk, 5 to 15 minutes."
	@$(PYTHON) -m venv $(TRTLAB_MODELOPT)
	@$(TRTLAB_MODELOPT)/bin/python -m pip --disable-pip-version-check install --quiet 'nvidia-modelopt[onnx]==0.47.0'
	@touch $@

modelopt: $(TRTLAB_MODELOPT)/.ready-0.47.0

# Only the folder in the clone: one that was named elsewhere may hold more.
clean:
	rm -rf $(VENV) .modelopt .pytest_cache .mypy_cache .ruff_cache .hypothesis .stubs
