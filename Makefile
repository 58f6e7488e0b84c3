PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slow check bench clean

demo: $(INSTALLED)  ## export the demonstration checkpoint, mask a photograph, judge what it cost
	$(BIN)/python examples/demo.py

test: $(INSTALLED)  ## the default suite: no GPU, nothing outside this folder
	$(BIN)/pytest -m "not slow and not gpu"

test-slow: $(INSTALLED)  ## `large` from a 2.1 GB checkpoint to a mask; needs 12 GB of memory
	$(BIN)/pytest -m slow

check: $(INSTALLED)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measure, and write benchmarks/results/
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/export_cost.py

clean:
	rm -rf .venv build

# sam2 builds from source and would fetch a second PyTorch for that: so PyTorch comes first, and
# nothing is built in isolation.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade -c constraints.txt pip setuptools wheel hatchling torch torchvision
	SAM2_BUILD_CUDA=0 $(BIN)/pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@
