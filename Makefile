# Everything starts from a bare machine: python3 (>= 3.10), git, make, a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: mini human test test-all smoke lint docs bench setup clean

setup: $(READY)

$(READY): setup.py constraints.txt tools/setup_venv.sh
	bash tools/setup_venv.sh $(PYTHON) $(VENV)

mini: $(READY)      ## build the embedded corpus, distil, print the table
	cd egs/mini/asr1 && ./run.sh $(MINI)

human: $(READY)     ## human speech of Debian packages, Whisper-base as teacher: a small table
	cd egs/human/asr1 && HUMAN_CORPUS="$${HUMAN_CORPUS:---unlab-langs own}" ./run.sh --systems_file conf/systems_small.yaml --systems baseline_small,whisper_small --baseline baseline_small --decode_opts "--method greedy" $(HUMAN)

test: $(READY)      ## quick tests
	$(BIN)/python -m pytest

test-all: $(READY)  ## quick and slow tests, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or not slow" -n 2 --dist worksteal

smoke: $(READY)     ## every embedded recipe in miniature, from nothing to its table
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tools/smoke_recipes.sh

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/check_sizes.py
	$(BIN)/mypy
	$(BIN)/python tools/build_docs.py site
	$(BIN)/python -m distill_asr recipe check egs/*/asr1/conf/systems*.yaml

docs: $(READY)      ## the pages as a site in site/, every link checked
	$(BIN)/python tools/build_docs.py site

bench: $(READY)     ## every measurement, each a ratio in one run; see bench/README.md
	for script in $(filter-out bench/exported.py bench/first_token.py,$(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) site
