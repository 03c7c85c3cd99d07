# `make` alone lists the targets. Each one does all its own set-up in .venv, on a machine with nothing but
# Python 3.10 or later.

PYTHON ?= python3
# The version that the tests were run with; any later one that the metadata allows works too.
TORCH ?= torch==2.13.0
PYTEST ?= -n 2 --dist worksteal

VENV := .venv
BIN := $(VENV)/bin
# Two processes share the machine; spinning threads of one would starve the other.
export OMP_WAIT_POLICY := passive
# Where this is set, each process compiles all that it imports: for torch and transformers that takes a minute.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test bench bench-curves lint docs wheel clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/ready ## compile the embedded checkpoint, ask about scenes it has never seen, measure it
	$(BIN)/python demo/demo.py

test: $(VENV)/ready ## run the tests, without the slow ones and those that need a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" $(PYTEST)

bench: $(VENV)/ready ## compare with every other way to run Florence-2 on this CPU (base size, 15 minutes and more)
	$(BIN)/python benchmarks/bench.py

bench-curves: $(VENV)/ready ## measure how cost grows with tokens, beams, prompts, images, pixels and threads
	$(BIN)/python benchmarks/curves.py

lint: $(VENV)/ready ## check the code with ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/typed && $(BIN)/pip install --quiet --no-deps --target build/typed .
	MYPYPATH=build/typed $(BIN)/mypy -p f2edge

docs: $(VENV)/ready ## build the documentation site in build/docs
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs

wheel: $(VENV)/ready ## build the wheel in dist/
	rm -rf dist build/lib && $(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-compile '$(TORCH)' # Python compiles what is imported; that is a part of it
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	touch $@

clean: ## remove .venv and all that was built
	rm -rf $(VENV) build dist demo/out
