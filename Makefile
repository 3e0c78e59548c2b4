# make run | test | lab | lint | docs: each makes .venv first when it is missing or older than the lock.
PARAMS ?= params/mini.yaml
PYTHON ?= python3
.SHELLFLAGS = -euc
BIN := .venv/bin/python -m

# The stamp's name holds what .venv was made from, its place included (a venv cannot be moved).
# An existing .venv keeps its Python, whatever python3 is today, unless PYTHON is given.
MADE := { pwd; (.venv/bin/python -V) 2>/dev/null || true; cat requirements.lock pyproject.toml; } | cksum | cut -d' ' -f1
ASKED := $(if $(filter file,$(origin PYTHON)),,$(shell ($(PYTHON) -V) 2>/dev/null || true))
STAMP := $(if $(and $(ASKED),$(filter-out $(ASKED),$(shell (.venv/bin/python -V) 2>/dev/null || true))),.venv/other-python,.venv/made-$(shell $(MADE)))

run: $(STAMP)  ## run a study (PARAMS=params/mini.yaml) to its report
	@exec $(BIN) midway run "$(PARAMS)"

test: $(STAMP)  ## run all tests; the fast ones: make test ARGS='-m "not slow"'
	@$(BIN) pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lab: $(STAMP)  ## open the notebooks; as root: make lab ARGS=--allow-root
	@$(BIN) jupyterlab --notebook-dir=. --ServerApp.ip=127.0.0.1 $(ARGS) notebooks/00_tour.ipynb

lint: $(STAMP)  ## check style and types
	@$(BIN) ruff check . && $(BIN) ruff format --check . && $(BIN) ty check --quiet

docs: $(STAMP)  ## build the site: site/index.html
	@$(BIN) pip install -qq --disable-pip-version-check "mkdocs-material==9.8.2" "mkdocs-jupyter==0.26.3"
	@.venv/bin/python docs/build_site.py

bench: $(STAMP)  ## measure speed against stated references
	@for b in correlation mining training; do echo "== $$b"; .venv/bin/python "benchmarks/$$b.py"; done

$(STAMP):
	@PYTHON="$(PYTHON)" sh setup_venv.sh
	@touch ".venv/made-$$($(MADE))"

.PHONY: run test lab lint docs bench
