# Needs Python 3.11 or newer with pip and venv, a C++17 compiler and make. Everything else comes by pip.
#
#   make                        builds and installs into .venv; .venv/bin/pocketlm is the program
#   make chat [MODEL=phi3] [PROMPT="…"]
#                               brings the model and opens a chat; with PROMPT answers once
#   make test                   brings the development tools too, and runs all tests
#   make recipe-demo [SETTING=larger]
#                               shows what the choice of text does to small models; an hour (docs/demo.md)
#   make language-demo          teaches the default model German; half an hour (docs/languages.md)
#   make web                    builds the page that runs models in browsers (docs/browser.md); needs Node.js with npm
#   make lint                   checks style and types
#   make clean                  removes what was built; models that were brought stay

PYTHON  ?= python3
MODEL   ?= smollm2
PROMPT  ?=
SETTING ?= demo

VENV   := .venv
NATIVE := build/native
WASM   := build/wasm
WEB    := src/pocketlm/web
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

# As it was typed: neither make nor the shell reads anything into it.
export POCKETLM_PROMPT := $(value PROMPT)
export POCKETLM_MODEL  := $(value MODEL)

.PHONY: all chat test web lint recipe-demo language-demo clean
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

# The C programs that tests drive are built first. Two processes share two cores: threads of NumPy's and PyTorch's own,
# which spin while they wait for each other, would make some tests ten times as long.
test: $(VENV)/.developed
	@mkdir -p $(NATIVE)
	@(PATH="$(CURDIR)/$(BIN):$$PATH"; cmake -S . -B $(NATIVE) -G Ninja -D CMAKE_BUILD_TYPE=Release \
	    -D POCKETLM_PYTHON=OFF -D POCKETLM_TESTS=ON && cmake --build $(NATIVE)) >$(NATIVE).log 2>&1 || \
	    { cat $(NATIVE).log; exit 1; }
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POCKETLM_TEST_POCKET="$(CURDIR)/$(NATIVE)" \
	    $(BIN)/python -m pytest -n 2 --dist loadfile

# WebAssembly modules first: the page's build hashes them.
web: $(BIN)/python
	@command -v npm >/dev/null || { echo "make web needs Node.js with npm"; exit 1; }
	$(PIP) install 'cmake>=3.25' ninja ziglang==0.17.1
	@mkdir -p $(WASM)
	@(PATH="$(CURDIR)/$(BIN):$$PATH"; \
	  zig=$$($(BIN)/python -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).with_name("zig"))'); \
	  cmake -S . -B $(WASM) -G Ninja -D CMAKE_BUILD_TYPE=Release -D POCKETLM_ZIG="$$zig" \
	    -D CMAKE_TOOLCHAIN_FILE="$(CURDIR)/src/pocketlm/pocket/wasm/toolchain.cmake" \
	    -D POCKETLM_PYTHON=OFF -D POCKETLM_C_API=ON && cmake --build $(WASM) --target modules && \
	  cmake --install $(WASM) --component web --prefix $(WEB)) >$(WASM).log 2>&1 || { cat $(WASM).log; exit 1; }
	cd src/pocketlm/pocket/web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && node build.mjs

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

recipe-demo: $(VENV)/.developed
	$(BIN)/pocketlm train demo $(SETTING) --out recipe-$(SETTING)

language-demo: $(VENV)/.developed
	$(BIN)/python benchmarks/language.py --out build/german

clean:
	rm -rf $(VENV) build dist $(WEB) src/pocketlm/pocket/web/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
