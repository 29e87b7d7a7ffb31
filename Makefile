# Two commands to begin with: `make demo` sets up everything and runs the main job; `make test` sets up everything and tests it.
# Paths stay relative, so that a folder with a space in its name works.

PYTHON ?= python3
BIN := .venv/bin
DEMO_ARGS ?=
DEV_PINS := --constraint constraints.txt --constraint constraints-dev.txt

.PHONY: demo tutorials test test-all style lint format docs package clean

# The stamps make a second run quick: pip runs again only when what is to be installed has changed.
.venv/pip:
	$(PYTHON) -m venv .venv
	touch .venv/pip

.venv/demo: .venv/pip pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	touch .venv/demo

.venv/dev: .venv/pip pyproject.toml constraints.txt constraints-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(DEV_PINS) --editable '.[dev]'
	touch .venv/dev .venv/demo

.venv/docs: .venv/pip pyproject.toml constraints.txt constraints-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(DEV_PINS) --editable '.[docs]'
	touch .venv/docs

demo: .venv/demo
	$(BIN)/limbeck demo $(DEMO_ARGS)

# The tutorials as printed, each in an empty folder.
tutorials: .venv/dev
	$(BIN)/python docs/tutorials/run.py

# The everyday tests: one case of each kind.
test: .venv/dev style
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not full"

# All of them: the full matrices, what takes minutes, and the types.
test-all: .venv/dev lint
	$(BIN)/python -m pytest -n auto --dist worksteal

style: .venv/dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

lint: style
	$(BIN)/python -m mypy

format: .venv/dev
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# The pages of docs/ and the reference from the docstrings, in site/; a warning is an error.
docs: .venv/docs
	$(BIN)/python -m mkdocs build --strict --quiet

# Wheel and source archive in dist/, checked as PyPI checks them.
package: .venv/dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf .venv site dist
