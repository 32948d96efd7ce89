# make demo    train the first network on data that is already here, and show where the results are
# make test    run the tests, in WORKERS processes
# make site    make the documentation, with a reference of every public name, a site in build/site
# make check   lint, format, types and tests: what CI runs
# Each makes the environment it needs in $(VENV), or takes the one that is there. Nothing else on the machine changes.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test site lint types check format clean

demo: $(VENV)/.installed
	$(BIN)/spikeloom train lif-fc

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

site: $(VENV)/.installed-test
	$(BIN)/python -m sphinx --fail-on-warning --quiet docs build/site
	@echo build/site/index.html

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.python:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e ".[test]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(PIP) -e ".[test,dev]"
	touch $@
