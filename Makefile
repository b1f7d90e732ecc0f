# Two commands matter: `make demo` shows the main job, offline, in minutes; `make test` passes the tests.
# Everything installs into .venv; `make clean` removes it and what runs have left.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
BENCH := $(VENV)/.bench
STRESS_SEEDS ?= 42
STRESS_FIRST ?= 0
REAL := $(addprefix test-real-,vllm llamacpp llamafactory trl swift verl lmms)

.PHONY: demo test coverage check docs stress fuzz bench miniature miniature-smoke format clean help $(REAL) test-real

help:
	@echo "make demo    captioned images to training sets, offline, on simulated models (about two minutes)"
	@echo "make test    the tests"
	@echo "make coverage   the tests, and which lines they have not run"
	@echo "make check   format, lint, types, import doors"
	@echo "make docs    write the parts of docs/ that come from the code"
	@echo "make stress  more than 200 runs and servers killed at random points, then an hour of fuzz"
	@echo "make fuzz    an hour of damaged files for everything that reads (FUZZ_SECONDS=600 for less)"
	@echo "make bench   speed and memory, as ratios (minutes)"
	@echo "make miniature   does it help? the paper's claims on a student of a million parameters (hours; in pieces)"
	@echo "make miniature-smoke   every step of it for real, on a student that knows nothing (minutes)"
	@echo "make test-real   against real servers and trainers, some GB in environments of their own (CONTRIBUTING.md)"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "lpt needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)

# The stamp depends on what decides the environment, so a changed pin installs anew and nothing else does.
$(CORE): $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(DEV): $(CORE) requirements-dev.txt
	$(PIP) install --constraint constraints.txt --requirement requirements-dev.txt
	@touch $@

$(BENCH): $(DEV) requirements-bench.txt
	$(PIP) install --constraint constraints.txt --requirement requirements-bench.txt
	@touch $@

demo: $(CORE)
	$(BIN)/lpt run recipes/demo.toml --out runs/demo
	$(BIN)/lpt show runs/demo
	$(BIN)/lpt export runs/demo --to llamafactory
	$(BIN)/lpt export runs/demo --to trl

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile

coverage: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Builds environments in ~/.cache/lpt-real (or $LPT_REAL_CACHE), drives each real tool, writes docs/integrations.md.
test-real: $(DEV)
	$(BIN)/python -m pytest -c tests_real/pytest.ini tests_real; status=$$?; \
	$(BIN)/python scripts/real/results.py docs/integrations.md && exit $$status

$(REAL): test-real-%: $(DEV)
	$(BIN)/python -m pytest -c tests_real/pytest.ini $(wildcard tests_real/test_$*.py tests_real/test_$*_*.py); \
	status=$$?; $(BIN)/python scripts/real/results.py docs/integrations.md && exit $$status

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(CORE)
	$(BIN)/python scripts/reference.py

# Runs and launched servers killed at random points; STRESS_SEEDS=100 for more, STRESS_FIRST=7 STRESS_SEEDS=1 for one again.
stress: $(DEV)
	$(BIN)/python -m tests.crash.stress --seeds $(STRESS_SEEDS) --first $(STRESS_FIRST)
	$(BIN)/python -m tests.crash.nodes --seeds 5 --first $(STRESS_FIRST)
	$(BIN)/python scripts/fuzz/all.py

# Damaged files for every reader, FUZZ_SECONDS in all; FUZZ=ledger for those of that name. Where atheris is installed
# (`.venv/bin/pip install atheris`) it looks for damage that leads to new code; without it, files are damaged at random.
fuzz: $(DEV)
	$(BIN)/python scripts/fuzz/all.py $(FUZZ)

bench: $(BENCH)
	$(BIN)/python -m perf
	$(BIN)/python -m perf.report

# Rows and seeds that docs/miniature/results has are not made again: SEEDS=3 ROWS="base sft" for more of them.
miniature: $(DEV)
	scripts/miniature.sh $(ROWS)

miniature-smoke: $(DEV)
	$(BIN)/python -m pytest -n 0 tests/miniature/test_smoke.py

clean:
	rm -rf $(VENV) runs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
