PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slow fuzz lowest check bench bench-gpu bench-report clean

demo: $(INSTALLED)  ## export the demonstration checkpoint, mask a photograph, judge what it cost
	$(BIN)/python examples/demo.py

test: $(INSTALLED)  ## the default suite: no GPU, nothing outside this folder
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu"

test-slow: $(INSTALLED)  ## `large` from a 2.1 GB checkpoint to a mask; needs 12 GB of memory
	$(BIN)/pytest -m slow

# FUZZ="--target manifest --seed 1 --case 4711" runs one case again; FUZZ=--help says the rest.
fuzz: $(INSTALLED)  ## 100,000 damaged files and odd command lines; goes on where it was stopped
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Every declared lower bound, in an environment of its own: 5 GB.  Lint and types are not checked,
# since what they say depends on the version.
lowest:  ## the oldest packages that are allowed: the whole chain of commands, then the runtime's tests
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/pip install --quiet -c constraints-lowest.txt pip setuptools wheel hatchling torch torchvision
	SAM2_BUILD_CUDA=0 build/lowest/bin/pip install --quiet --no-build-isolation -c constraints-lowest.txt -e '.[dev]'
	rm -rf build/lowest-chain
	PATH=$(CURDIR)/build/lowest/bin:$$PATH examples/chain.sh build/lowest-chain 24 1
	build/lowest/bin/pytest -n 2 --dist loadfile -m "not slow and not gpu" tests/test_lowest.py tests/test_command_lines.py tests/runtime

check: $(INSTALLED)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The quick ones first; those of `large`, at the end, take most of the time and 12 GB of memory.
bench: $(INSTALLED)  ## measure everything on this CPU, some two hours, and write benchmarks/
	$(BIN)/python benchmarks/runner_overhead.py --preset nano
	$(BIN)/python benchmarks/runner_overhead.py --preset tiny --rounds 30 --calls 200
	$(BIN)/python benchmarks/frames.py --preset nano
	$(BIN)/python benchmarks/growth.py --preset nano
	$(BIN)/python benchmarks/growth.py --preset tiny --folder-rounds 0
	$(BIN)/python benchmarks/latency.py --preset nano
	$(BIN)/python benchmarks/latency.py --preset tiny
	$(BIN)/python benchmarks/evaluation.py --pairs 200
	$(BIN)/python benchmarks/demonstration.py
	$(BIN)/python benchmarks/training.py --preset tiny --steps 2
	$(BIN)/python benchmarks/engine_build.py --preset large
	$(BIN)/python benchmarks/export_cost.py --preset large --rounds 3
	$(BIN)/python benchmarks/latency.py --preset large
	$(BIN)/python benchmarks/quantised.py --preset large
	$(BIN)/python benchmarks/readme.py

bench-gpu: $(INSTALLED)  ## the same on an NVIDIA GPU; not run yet
	$(BIN)/python benchmarks/gpu.py --preset nano
	$(BIN)/python benchmarks/gpu.py --preset tiny
	$(BIN)/python benchmarks/gpu.py --preset large
	$(BIN)/python benchmarks/readme.py

bench-report: $(INSTALLED)  ## write benchmarks/README.md and its plots from benchmarks/results/
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf .venv build

# sam2 builds from source and would fetch a second PyTorch for that: so PyTorch comes first, and
# nothing is built in isolation.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade -c constraints.txt pip setuptools wheel hatchling torch torchvision
	SAM2_BUILD_CUDA=0 $(BIN)/pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@
