"""libFuzzer targets, some thousand inputs each; `runtime/cpp/fuzz` has them.

For longer runs: `DSUNET_FUZZ_SECONDS=600 pytest tests/cpp/test_fuzzers.py`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cpp.builds import ROOT, build_with, run
from tests.cpp.fuzz_corpus import make_corpus

SECONDS = os.environ.get("DSUNET_FUZZ_SECONDS")
TARGETS = ("manifest", "artifact", "frames")
FOUND = ROOT / "build/fuzz"
"""Folder for inputs that break something."""
RUNS = 5000
"""Some seconds of work.  A limit in seconds would mean few runs on a busy machine."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks(build: Path, tmp_path: Path, name: str) -> None:
    targets = [f"dsunet_fuzz_{target}" for target in TARGETS]
    fuzzers = build_with(
        build,
        "cpp-fuzz",
        (*targets, "dsunet_stand_in_backend"),
        "-DDSUNET_FUZZERS=ON",
        "-DDSUNET_TESTS=ON",
    )
    make_corpus(tmp_path)
    FOUND.mkdir(parents=True, exist_ok=True)
    (tmp_path / "new").mkdir()
    limit = f"-runs={RUNS}" if SECONDS is None else f"-max_total_time={SECONDS}"
    output = run(
        fuzzers / f"dsunet_fuzz_{name}", limit, "-timeout=20",
        "-rss_limit_mb=4000", "-max_len=20000", "-print_final_stats=1", "-seed=1",
        f"-artifact_prefix={FOUND}/{name}-", tmp_path / "new", tmp_path / name,
        DSUNET_FUZZ_ARTIFACT=str(tmp_path / "a.onnx"),
        DSUNET_FUZZ_BACKENDS=str(fuzzers / "stand_in"),
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    assert runs is not None, output
    assert int(runs[1]) >= RUNS
