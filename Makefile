# Everything installs into .venv, once; `make race PYTHON=python3.12` chooses the interpreter.
PYTHON ?= python3
TASK ?= digits-mlp
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
# Two workers of one thread each: small models gain nothing from more, and wait for them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# Short ones first; `common` is what they share, `render` puts what they recorded into the documents.
BENCHMARKS := step small lanes first_step race_speed training roofline report play int8_blocks jax_scalars \
              closeness recurrent step_in_backward driver cluster task_times fewer_bytes calibration pruning
define NEWLINE


endef

.DEFAULT_GOAL := help
.PHONY: help race test test-long check bench bench-core bench-quick figures images
.NOTPARALLEL:

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

race: $(RUNTIME) ## race the optimizers on digits-mlp, or on TASK=name; the report lands in races/
	$(BIN)/thalweg race $(TASK) --out races/$(TASK)

test: $(DEV) ## the tests
	$(PYTEST)

test-long: $(DEV) ## the tests marked `long`: fuzzing at length, dozens of kills, full studies
	$(PYTEST) -m long

check: $(DEV) ## format, lint, types, import law, then the tests
	$(BIN)/ruff format --check
	! grep -rnE 'fmt: (skip|off)' --include=*.py src tests docs benchmarks examples
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

bench-quick: $(DEV) ## a sample of every benchmark, in minutes; nothing is recorded
	$(foreach name,$(BENCHMARKS),$(BIN)/python benchmarks/$(name).py --quick$(NEWLINE))

bench-core: $(DEV) ## what README.md shows, and the benchmarks of seconds; about 20 minutes
	$(BIN)/python benchmarks/int8_blocks.py
	$(BIN)/python benchmarks/jax_scalars.py
	$(BIN)/python benchmarks/closeness.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/play.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/small.py
	$(BIN)/python benchmarks/lanes.py
	$(BIN)/python benchmarks/first_step.py --core
	$(BIN)/python benchmarks/race_speed.py
	$(BIN)/python benchmarks/render.py

bench: $(DEV) ## every benchmark; hours (benchmarks/README.md says how long each took)
	$(foreach name,$(BENCHMARKS),$(BIN)/python benchmarks/$(name).py$(NEWLINE))
	$(BIN)/python benchmarks/calibration.py --two 1000
	$(BIN)/python benchmarks/render.py

images: $(DEV) ## draw the pictures of docs/images anew: a race's report, paths on surfaces
	$(BIN)/python docs/make_images.py

figures: $(DEV) ## put the figures of benchmarks/results into README.md and docs/
	$(BIN)/python benchmarks/render.py

$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(DEV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(RUNTIME) $@
