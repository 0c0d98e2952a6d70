# `make quickstart` and `make test` do what they need of the set-up first: the quickstart its core
# (a minute or two), the tests all of it (with mmcv's operators, which are compiled).
#
#   make quickstart [DATA=folder]   pretrain on synthetic persons (or on a folder) and show the result
#   make test                       style, types and the tests (PYTEST_ARGS=... for more options)
#   make test-all                   the same with the tests marked slow and gpu
#   make benchmark [LIGHTLY=folder] speed against other code, in ten minutes (docs/performance.md)
#   make setup                      only the whole set-up
#   make clean                      remove the virtual environment and caches (wheels are kept)
#
#   STACK=forks|upstream            the maintained forks (default) or the upstream packages
#   PYTHON=python3.11               the Python to make the virtual environment with

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

STACK ?= forks
PYTHON ?=
DATA ?=
LIGHTLY ?=
PYTEST_ARGS ?=
VENV := $(if $(filter forks,$(STACK)),.venv,.venv-$(STACK))
PY := $(VENV)/bin/python

# mmengine 0.10.7 loads checkpoints of its own hooks only with this; ours load without.
ifeq ($(STACK),upstream)
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD := 1
endif

.PHONY: help setup setup-core quickstart check test test-all benchmark clean

help:
	@sed -n 's/^#   \{0,1\}//p' Makefile

setup:
	@python=$$(tools/setup/find_python.sh $(VENV) $(PYTHON)); \
	"$$python" tools/setup/install.py --venv $(VENV) --stack $(STACK)

setup-core:
	@python=$$(tools/setup/find_python.sh $(VENV) $(PYTHON)); \
	"$$python" tools/setup/install.py --venv $(VENV) --stack $(STACK) --part core

quickstart: setup-core
	@$(PY) tools/quickstart.py $(if $(DATA),--data "$(DATA)")

check: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy saip

test: check
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 $(PYTEST_ARGS)

test-all: check
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 -m '' $(PYTEST_ARGS)

benchmark: setup-core
	@$(PY) benchmarks/benchmark.py $(if $(LIGHTLY),--lightly "$(LIGHTLY)")

clean:
	rm -rf .venv .venv-upstream build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
