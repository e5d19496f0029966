# Everything a newcomer needs: `make train` and `make test`. Both set up .venv when it is stale.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: train test lint slow results clean

train: $(READY)  ## meta-train PEARL on the sparse point robot, with adaptation curves on held-out goals
	$(BIN)/python recipes/pearl.py sparse-point-robot

test: lint  ## format, lint, types, and every test that is not marked slow
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

slow: $(READY)  ## the long learning runs
	$(BIN)/python -m pytest -m slow

results: $(READY)  ## the README's tables and pictures, drawn again from results/
	$(BIN)/python results/summarise.py

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metablocks needs Python 3.11 or later, got %d.%d: set PYTHON=/path/to/python" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
