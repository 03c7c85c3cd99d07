# make demo   compile the embedded checkpoint, run it on scenes it has never seen, measure it
# make test   the tests
# make bench  this beside every other way to run Florence-2 on this CPU, at base size: about 15 minutes, the first time more
# make bench-curves  how cost grows with tokens, beams, prompts, images, pixels and threads
# make docs   the documentation as a site, in build/docs/index.html
# Each does all its own set-up in .venv, on a machine with nothing but Python 3.10 or later.

PYTHON ?= python3
# The version that the tests were run with; any later one that the metadata allows works too.
TORCH ?= torch==2.13.0
PYTEST ?= -n 2 --dist worksteal

VENV := .venv
BIN := $(VENV)/bin
# Two processes share the machine; spinning threads of one would starve the other.
export OMP_WAIT_POLICY := passive

.PHONY: demo test bench bench-curves lint docs wheel clean

demo: $(VENV)/ready
	$(BIN)/python demo/demo.py

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" $(PYTEST)

bench: $(VENV)/ready
	$(BIN)/python benchmarks/bench.py

bench-curves: $(VENV)/ready
	$(BIN)/python benchmarks/curves.py

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/typed && $(BIN)/pip install --quiet --no-deps --target build/typed .
	MYPYPATH=build/typed $(BIN)/mypy -p f2edge

docs: $(VENV)/ready
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs

wheel: $(VENV)/ready
	rm -rf dist build/lib && $(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet '$(TORCH)'
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist demo/out
