# From nothing but python3 and make: `make demo` and `make test`.
# Elsewhere another torch may be wanted, e.g. without the CUDA libraries:
#   make env TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := .venv/ready
TESTS ?= tests

.PHONY: env demo test slow check format bench docs shown site picture clean

env: $(READY)

$(READY): pyproject.toml
	@echo "setting up .venv; the first time this takes a few minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) $(TORCH)
	$(PIP) -e ".[dev]"
	touch $@

demo: env
	@mkdir -p nomagic-report
	$(BIN)/nomagic look digits --html nomagic-report/look.html
	$(BIN)/nomagic check --html nomagic-report/check.html examples/digits.py
	$(BIN)/nomagic try digits batch-norm relu-after-maxpool --budget 90s --html nomagic-report/try.html --recipe recipe.toml
	$(BIN)/nomagic fit digits --budget 90s --out fit-digits
	@echo "to open in a browser: nomagic-report/look.html, check.html and try.html, and fit-digits/report.html;"
	@echo "what was proven to help: recipe.toml; the model: fit-digits, e.g. $(BIN)/nomagic predict fit-digits digits"

test: env
	$(BIN)/pytest -q -n auto -m "not slow" $(TESTS)

slow: env
	$(BIN)/pytest -q -n auto -m slow $(TESTS)

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest -q -n auto $(TESTS)

format: env
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: env
	$(BIN)/python bench/overhead.py

docs: env
	$(BIN)/python -m nomagic.report.json > docs/json.schema.json
	$(BIN)/python docs/cures.py > src/nomagic/report/cures.json
	$(BIN)/python -m nomagic.report.verdicts > docs/try.schema.json
	$(BIN)/python -m nomagic.report.survey > docs/look.schema.json
	$(BIN)/python docs/fields.py

shown: env
	$(BIN)/python docs/commands.py

site: env
	$(BIN)/python -c "import zensical" 2>/dev/null || $(PIP) -e ".[docs]"
	$(BIN)/python docs/pages.py
	$(BIN)/python -m zensical build --clean --strict
	@echo "to read it, search included: python3 -m http.server --directory site"

picture: env
	$(BIN)/python docs/picture.py > docs/report.svg

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist site .cache
