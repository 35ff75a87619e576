# A fresh machine needs Python 3.11 and make. Each target prints what it runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo check test test-ci test-ray test-slow chaos nightly clean

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

# Side by side: those with a Ray wait for processes most of the time, the others compute.
test-ci: setup
	$(MAKE) --jobs=2 --output-sync=target test-ray test-slow

test-ray: setup
	$(BIN)/pytest -m '(ray or cluster) and not nightly'

test-slow: setup
	$(BIN)/pytest -m 'slow and not (ray or cluster or nightly)'

# SIGKILL real drivers, trials and nodes, compare with the unbroken run; SEED=n for other moments.
SEED ?= 1
chaos: setup
	$(BIN)/python -m tests.chaos --kills 20 --seed $(SEED)
	$(BIN)/python -m tests.chaos --kills 20 --seed $(SEED) --inline --tuned

# What takes too long for every commit: more than an hour, and 20 GB of memory for the load.
nightly: chaos
	RAYBENCH_TEST_EXAMPLES=2000 $(BIN)/pytest tests/test_fuzz_spec.py tests/datasets/test_fuzz_images.py
	$(BIN)/pytest -m nightly
	$(BIN)/python benchmarks/tracking_load.py --at-once 32 --seconds 300
	$(BIN)/python benchmarks/ledger_scale.py
	$(BIN)/python benchmarks/ledger_scale.py --postgres
	$(BIN)/python benchmarks/report_scale.py --predictions

clean:
	rm -rf $(VENV) build dist
