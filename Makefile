# make run: the dashboard on the embedded world.   make test: everything that must hold.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
NEEDS := On Debian: apt install git make python3-venv

.PHONY: run test lint types browser clean

run: $(VENV)/run.stamp
	$(BIN)/streamlit run dashboard.py

test: lint types browser
	$(BIN)/pytest

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

# An existing Chromium, else Debian's, else playwright's own.
browser: $(VENV)/test.stamp
	@command -v chromium chromium-browser google-chrome >/dev/null && exit 0; \
	if [ -n "$$CI" ] || [ "$$(id -u)" = 0 ]; then \
	  as=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else $(BIN)/playwright install chromium; fi

$(VENV)/run.stamp: requirements.txt | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/test.stamp: requirements-dev.txt requirements.txt | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run.stamp

$(VENV):
	@command -v $(PYTHON) >/dev/null || { echo "Python is missing. $(NEEDS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V)."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing. $(NEEDS)"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing. $(NEEDS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .pooltable .mypy_cache .ruff_cache .pytest_cache .hypothesis
