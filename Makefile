# bimcvr: `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
SUITE  ?= phantom
# what `install` brings: EXTRAS=dev,peers adds the packages of docs/peers.md
EXTRAS ?= dev
BIN    := $(VENV)/bin
# one more than there are cores, since some tests wait for processes of their own; at most 5
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 5)))
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast axe coverage docs lint types wheel perf gpu benchmark research control

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

install: $(VENV)/.installed-$(EXTRAS) ## make .venv with every extra but peers, in the tested versions

$(VENV)/.installed-$(EXTRAS): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bimcvr needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar off --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: install ## the main job on a phantom cohort: make it, train, test, search (about 10 minutes on 2 cores)
	$(BIN)/python -m bimcvr demo

test: install ## lint, types and all tests
	$(MAKE) lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-fast: install ## the tests that take seconds
	$(BIN)/python -m pytest -m 'not slow'

coverage: install ## line and branch coverage of the fast tests; fails below the floor in setup.cfg
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses $(WORKERS) --dist worksteal --cov

axe: ## install axe-core by npm, for the tests of the pages' accessibility that are skipped without it
	npm install --no-save --no-package-lock axe-core@4.14.1

lint: install ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy --strict
	$(BIN)/mypy

docs: install ## the documentation as a site: open site/index.html, or $(BIN)/mkdocs serve
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: install ## build a wheel, install it in an empty environment, use it outside of this checkout
	rm -rf build dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	cp constraints.txt dist && bash tests/packaging/smoke.sh dist

perf: install ## speed and memory against peers, measured in one run
	$(BIN)/python perf/reading.py
	$(BIN)/python perf/preprocess.py
	$(BIN)/python perf/ranks.py
	$(BIN)/python perf/bootstrap.py

gpu: install ## is a GPU right and fast here? under 7 minutes on an H100 with 16 cores; goes on where it was stopped
	$(BIN)/python perf/gpu.py $(ARGS)

benchmark: install ## Tables 1 to 4, figures, one page (about an hour on 2 cores); MANIFEST=manifest.csv SUITE=bimcv_r for patients' data
	$(BIN)/python -m bimcvr benchmark --suite experiments/suites/$(SUITE).yaml $(if $(MANIFEST),--manifest $(MANIFEST)) $(ARGS)

research: install ## what finds small findings, hypothesis by hypothesis: the rows of docs/strong.md (about an hour on 2 idle cores)
	$(BIN)/python -m bimcvr benchmark --suite research/strong.yaml --jobs 2 $(ARGS)

control: install ## does the phantom experiment fall to chance when reports are permuted among patients? (about an hour)
	$(BIN)/python controls/permuted_reports.py
