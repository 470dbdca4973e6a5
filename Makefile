# Two commands on a fresh clone with Python 3.11 or newer: `make demo` and `make test`.
# While you change the code: `make test-fast`, `make lint`, `make size`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Finds the brain in T1w images; without what it asks for: a window toolkit (docs/decisions).
BRAIN_NETWORK = deepbet>=1.0.2
# One of them grows to 7 GB; tests of one file stay together, as they share what they need.
TEST_PROCESSES ?= 2

.PHONY: demo test coverage test-fast image-test lint size docs clean

demo: $(INSTALLED)
	$(BIN)/conceptrsa demo out/demo

test: $(INSTALLED) lint
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile \
		--no-loadscope-reorder

# The same with coverage, which takes longer.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile \
		--no-loadscope-reorder --cov=analysis --cov=bids_config --cov=interfaces \
		--cov=pipelines --cov-report=term:skip-covered

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile \
		--no-loadscope-reorder -m "not slow and not image"

# Builds the images and runs them (docker/README.md); IMAGE_TARGETS="python octave spm",
# IMAGE_NETWORKS=no and SPM_OCTAVE=FOLDER choose what.
image-test: $(INSTALLED)
	$(BIN)/python -m pytest tests/test_image.py -m image -o log_cli=true -o log_cli_level=INFO -rs

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_prose.py  # the house style

# Lines of the product without comments, docstrings and blank ones, folder by folder.
size: $(INSTALLED)
	$(BIN)/python -m benchmarks.size

docs: $(INSTALLED)
	$(BIN)/sphinx-build -W --keep-going -q docs out/docs

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "conceptrsa needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[networks,fast,dev,docs]'
	$(BIN)/python -m pip install --quiet --no-deps '$(BRAIN_NETWORK)'
	@touch $@

clean:
	rm -rf $(VENV) out build *.egg-info
