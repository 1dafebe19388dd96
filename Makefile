# Works on a machine that has Python 3.11 or later and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BUILD  := build
SPHINX := $(BIN)/sphinx-build -n -W --keep-going -q -d $(BUILD)/docs/doctrees

.DEFAULT_GOAL := help
.PHONY: help venv test static quick unit samples docs wheel demo bench fmt clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1@/p' $(MAKEFILE_LIST) | column -t -s @ 2>/dev/null \
	|| sed -n 's/^\([a-z]*\):.*## /  make \1: /p' $(MAKEFILE_LIST)

venv: $(READY) ## make .venv with the package and the tools for work on it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "rehydrate needs Python 3.11 or later; say make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[conformance,object,tape,thaw,thaw-azure,windows]" --group dev
	@touch $@

test: static samples docs wheel unit ## run every check there is; CI runs this
	@echo "make test: all checks passed"

static: $(READY) ## look at the source without running it: style, types, floors, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tools/structure.py

unit: $(READY) ## run all tests with coverage, then the coverage gate and the honesty counters
	@mkdir -p $(BUILD)
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report= --junitxml=$(BUILD)/junit.xml
	$(BIN)/coverage report
	$(BIN)/coverage json -q -o $(BUILD)/coverage.json
	$(BIN)/python tools/coverage_gate.py $(BUILD)/coverage.json
	$(BIN)/python tools/honesty.py --junit $(BUILD)/junit.xml

quick: $(READY) ## run the quick unit tests only
	$(BIN)/python -m pytest tests/unit -m "not slow" -q

samples: $(READY) ## run every sample
	$(BIN)/python tools/run_samples.py

docs: $(READY) ## build the documentation, warnings are errors, and run its examples
	$(SPHINX) -b html docs $(BUILD)/docs/html
	$(SPHINX) -b doctest docs $(BUILD)/docs/doctest
	@echo "docs: $(BUILD)/docs/html/index.html"

wheel: $(READY) ## build the wheel, install it into a fresh environment, try it from outside the tree
	$(BIN)/python tools/wheel_smoke.py

demo: $(READY) ## put a directory tree of this machine into a store and restore a selection
	$(BIN)/python tools/demo.py

bench: $(READY) ## run the benchmarks; ARGS="..." passes options
	$(BIN)/python -m benchmarks $(ARGS)

fmt: $(READY) ## format the source and apply the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what was built; the environment goes too
	rm -rf $(VENV) $(BUILD) dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools samples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
