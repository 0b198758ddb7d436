# Concord: `make demo` starts it, `make test` tests it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .make
VIEWER := static/viewer
OFFICE := static/office
# the type checker imports the settings; no server is asked
CHECK_ENV := SECRET_KEY=checks-only-checks-only-checks-only-checks DATABASE_URL=postgresql://c@127.0.0.1:1/c BROKER_URL=redis://127.0.0.1:1/0

.PHONY: setup demo up demo-stop test test-tools lint format bench schema clean
.DELETE_ON_ERROR:

setup: $(STAMP)/python $(STAMP)/viewer $(STAMP)/office

$(STAMP)/python: pyproject.toml constraints.txt
	@mkdir -p $(STAMP)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "concord: Python 3.11 or 3.12 is needed, $(PYTHON) is another (PYTHON=... names one)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt -e .
	@touch $@

$(STAMP)/dev: $(STAMP)/python
	$(BIN)/pip install --quiet --constraint constraints.txt -e '.[dev]'
	@touch $@

$(VIEWER)/node_modules: $(VIEWER)/package-lock.json
	@command -v npm >/dev/null || { echo "concord: Node 20 with npm is needed to build the viewer"; exit 1; }
	cd $(VIEWER) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMP)/viewer: $(VIEWER)/node_modules $(shell find $(VIEWER)/src -type f 2>/dev/null) $(VIEWER)/vite.config.ts
	@mkdir -p $(STAMP)
	cd $(VIEWER) && npm run --silent build
	@touch $@

$(OFFICE)/node_modules: $(OFFICE)/package-lock.json
	cd $(OFFICE) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMP)/office: $(OFFICE)/node_modules $(shell find $(OFFICE) -maxdepth 2 -type f -not -path '*/node_modules/*' 2>/dev/null)
	@mkdir -p $(STAMP)
	cd $(OFFICE) && npm run --silent build
	@touch $@

demo: setup
	@exec $(BIN)/python -m deploy.embedded demo

up: setup
	@exec $(BIN)/python -m deploy.embedded up

demo-stop:
	@$(BIN)/python -m deploy.embedded down

# a browser and DICOM clients for the tests
test-tools:
	@deploy/test-tools.sh

test: setup $(STAMP)/dev test-tools
	cd $(VIEWER) && npm test --silent
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q

lint: setup $(STAMP)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(CHECK_ENV) $(BIN)/mypy portal inference deploy
	$(BIN)/djlint --lint --quiet templates
	cd $(VIEWER) && npm run --silent lint
	$(BIN)/python -m deploy.schema --check
	$(BIN)/python -m deploy.conformance --check

format:
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

schema:
	$(BIN)/python -m deploy.schema

bench: setup $(STAMP)/dev
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(STAMP) .venv $(VIEWER)/node_modules $(VIEWER)/dist $(OFFICE)/node_modules static/site/dist
