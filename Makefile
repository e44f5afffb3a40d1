# Two commands need nothing prepared: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint bench format clean

# The virtual environment, the packages and the native build. Re-made when their sources change.
install: .venv/installed
.venv/installed: pyproject.toml CMakeLists.txt $(shell find plugins -type f)
	@test -x $(BIN)/python || { echo "== making the virtual environment .venv"; $(PYTHON) -m venv .venv; }
	@echo "== installing packages and building the native operators (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,train,dev]'
	@touch $@
