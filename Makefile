# Needs Python 3.11 or newer with pip and venv, a C++17 compiler and make. Everything else comes by pip.
#
#   make                        builds and installs into .venv; .venv/bin/pocketlm is the program
#   make chat [MODEL=phi3] [PROMPT="…"]
#                               brings the model and opens a chat; with PROMPT answers once
#   make test                   brings the development tools too, and runs all tests
#   make recipe-demo [SETTING=larger]
#                               shows what the choice of text does to small models; an hour (docs/demo.md)
#   make language-demo          teaches the default model German; half an hour (docs/languages.md)
#   make lint                   checks style and types
#   make clean                  removes what was built; models that were brought stay

PYTHON  ?= python3
MODEL   ?= smollm2
PROMPT  ?=
SETTING ?= demo

VENV   := .venv
NATIVE := build/native
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

# As it was typed: neither make nor the shell reads anything into it.
export POCKETLM_PROMPT := $(value PROMPT)
export POCKETLM_MODEL  := $(value MODEL)

.PHONY: all chat test lint recipe-demo language-demo clean
.DELETE_ON_ERROR:

all: $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pocketlm needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# Editable: a change to a Python file counts at once, a change to a native file at the next make.
$(VENV)/.installed: pyproject.toml CMakeLists.txt $(wildcard src/pocketlm/native/*) | $(BIN)/python
	@echo "building pocketlm (some minutes the first time) …"
	$(PIP) install --editable '.[search,mcp]'
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	@echo "installing the development tools (PyTorch among them) …"
	$(PIP) install --editable '.[dev]'
	@touch $@

chat: all
	@$(BIN)/pocketlm pull "$$POCKETLM_MODEL" > /dev/null
	@$(BIN)/pocketlm chat "$$POCKETLM_MODEL" $(if $(value PROMPT),--prompt="$$POCKETLM_PROMPT")

# The C programs that tests drive are built first.
test: $(VENV)/.developed
	@mkdir -p $(NATIVE)
	@(PATH="$(CURDIR)/$(BIN):$$PATH"; cmake -S . -B $(NATIVE) -G Ninja -D CMAKE_BUILD_TYPE=Release \
	    -D POCKETLM_PYTHON=OFF -D POCKETLM_TESTS=ON && cmake --build $(NATIVE)) >$(NATIVE).log 2>&1 || \
	    { cat $(NATIVE).log; exit 1; }
	POCKETLM_TEST_POCKET="$(CURDIR)/$(NATIVE)" $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

recipe-demo: $(VENV)/.developed
	$(BIN)/pocketlm train demo $(SETTING) --out recipe-$(SETTING)

language-demo: $(VENV)/.developed
	$(BIN)/python benchmarks/language.py --out build/german

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
