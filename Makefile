# A fresh machine needs Python 3.11 and make. Each target prints what it runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo check test test-ci chaos clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/raybench run quickstart

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	$(BIN)/pytest

test-ci: setup
	$(BIN)/pytest -m 'ray or slow or cluster'

# SIGKILL real drivers, trials and nodes, compare with the unbroken run; SEED=n for other moments.
SEED ?= 1
chaos: setup
	$(BIN)/python -m tests.chaos --kills 20 --seed $(SEED)
	$(BIN)/python -m tests.chaos --kills 20 --seed $(SEED) --inline --tuned

clean:
	rm -rf $(VENV) build dist
