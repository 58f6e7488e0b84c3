PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help demo test test-slow test-cpp fuzz lowest check check-cpp bench bench-gpu bench-report clean

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## *\(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-13s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## export the demonstration checkpoint, mask a photograph, evaluate the exports
	$(BIN)/python examples/demo.py

# One thread for each of two processes: on two cores, more of them wait for each other.  After a lost
# process pytest-xdist would wait for ever for the tests of its file.
test: $(INSTALLED)  ## run the default tests: no GPU, no downloads of weights
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -m "not slow and not gpu" --ignore tests/cpp

test-slow: $(INSTALLED)  ## run the tests of `large`, from a 2.1 GB checkpoint to a mask; 12 GB of memory
	$(BIN)/pytest -m slow

# CMAKE_OPTIONS="-DTENSORRT_INCLUDE_DIR=..." are options of CMake.
test-cpp: $(INSTALLED)  ## build the C and C++ library with its examples in build/cpp, and test it
	BIN=$(BIN) runtime/cpp/tests/run.sh $(CMAKE_OPTIONS)

# FUZZ="--target manifest --seed 1 --case 4711" runs one case again; FUZZ=--help lists all options.
fuzz: $(INSTALLED)  ## read 100,000 damaged files, run odd command lines; continues an interrupted run
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Every declared lower bound, in a separate environment of 8 GB.  Lint and types are not checked:
# their findings depend on the version.
lowest:  ## run the command chain and the runtime's tests with the oldest allowed packages
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/pip install --quiet -c constraints-lowest.txt pip setuptools wheel hatchling torch torchvision
	SAM2_BUILD_CUDA=0 build/lowest/bin/pip install --quiet --no-build-isolation -c constraints-lowest.txt -e '.[dev]'
	rm -rf build/lowest-chain
	PATH=$(CURDIR)/build/lowest/bin:$$PATH examples/chain.sh build/lowest-chain 24 1
	build/lowest/bin/pytest -n 2 --dist loadfile -m "not slow and not gpu" tests/test_lowest.py tests/test_command_lines.py tests/runtime

check: check-cpp  ## check format, lint and types, and build the site of the manual
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples/demo.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check-cpp: $(INSTALLED)  ## check format and lint of runtime/cpp; lint where build/cpp is built
	BIN=$(BIN) runtime/cpp/tests/check.sh

# The quick ones come first.  Those of `large`, at the end, take most of the time and 12 GB of memory.
# demonstration.py needs photographs: see docs/DEMONSTRATION.md.
bench: $(INSTALLED)  ## measure everything on this CPU, about two hours, and write benchmarks/
	$(BIN)/python benchmarks/runner_overhead.py --preset nano
	$(BIN)/python benchmarks/runner_overhead.py --preset tiny --rounds 30 --calls 200
	$(BIN)/python benchmarks/frames.py --preset nano
	$(BIN)/python benchmarks/growth.py --preset nano
	$(BIN)/python benchmarks/growth.py --preset tiny --folder-rounds 0
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/latency.py --preset nano
	$(BIN)/python benchmarks/cpu_providers.py --preset nano
	$(BIN)/python benchmarks/cpu_providers.py --preset tiny
	$(BIN)/python benchmarks/latency.py --preset tiny
	$(BIN)/python benchmarks/evaluation.py --pairs 200
	$(BIN)/python benchmarks/training.py --preset tiny --steps 2
	$(BIN)/python benchmarks/engine_build.py --preset large
	$(BIN)/python benchmarks/export_cost.py --preset large --rounds 3
	$(BIN)/python benchmarks/latency.py --preset large
	$(BIN)/python benchmarks/quantised.py --preset large
	$(BIN)/python benchmarks/cpu_providers.py --preset large
	$(BIN)/python benchmarks/readme.py

bench-gpu: $(INSTALLED)  ## measure on an NVIDIA GPU; not run yet
	$(BIN)/python benchmarks/gpu.py --preset nano
	$(BIN)/python benchmarks/gpu.py --preset tiny
	$(BIN)/python benchmarks/gpu.py --preset large
	$(BIN)/python benchmarks/readme.py

bench-report: $(INSTALLED)  ## write benchmarks/README.md and its plots from benchmarks/results/
	$(BIN)/python benchmarks/readme.py

clean:  ## delete .venv and build/
	rm -rf .venv build

# sam2 builds from source and would fetch a second PyTorch for that: so PyTorch comes first, and
# nothing is built in isolation.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade -c constraints.txt pip setuptools wheel hatchling torch torchvision
	SAM2_BUILD_CUDA=0 $(BIN)/pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@
