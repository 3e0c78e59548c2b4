# make run | test | lab | lint: each makes .venv first when it is missing or older than the lock.
PARAMS ?= params/mini.yaml
PYTHON ?= python3
.SHELLFLAGS = -euc
BIN := .venv/bin/python -m

# The stamp's name holds what .venv was made from, its place included (a venv cannot be moved).
STAMP := .venv/made-$(shell { pwd; $(PYTHON) -V; cat requirements.lock pyproject.toml; } | cksum | cut -d' ' -f1)

run: $(STAMP)  ## run a study (PARAMS=params/mini.yaml) to its report
	@exec $(BIN) midway run "$(PARAMS)"

test: $(STAMP)  ## run all tests; the fast ones: make test ARGS='-m "not slow"'
	@$(BIN) pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lab: $(STAMP)  ## open the notebooks; as root: make lab ARGS=--allow-root
	@$(BIN) jupyterlab --notebook-dir=. --ServerApp.ip=127.0.0.1 $(ARGS) notebooks/00_tour.ipynb

lint: $(STAMP)  ## check style
	@$(BIN) ruff check . && $(BIN) ruff format --check .

bench: $(STAMP)  ## measure speed against stated references
	@for b in benchmarks/*.py; do echo "== $$b"; .venv/bin/python "$$b"; done

$(STAMP):
	@echo "Setting up .venv (once, about two minutes) ..."
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN) pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN) pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@.venv/bin/python -c "import torch, transformers, papermill, submitit"
	@touch "$@"

.PHONY: run test lab lint bench
