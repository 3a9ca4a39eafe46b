# `make demo` and `make test` each set everything up and then do their job; nothing but Python 3.11+ is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test slow lint types clean

demo: $(READY)
	$(BIN)/motionseek demo

test: $(READY)
	$(BIN)/pytest

slow: $(READY)
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy follows package-dir only in an installed copy.
types: $(READY)
	rm -rf build/types
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/types .
	cd build/types && MYPYPATH=. $(abspath $(BIN))/mypy --config-file ../../pyproject.toml --strict -p motionseek

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("motionseek needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision setuptools
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[cpu,dev]'
	touch $(READY)

clean:
	rm -rf build demo/archive demo/recordings demo/report.html
