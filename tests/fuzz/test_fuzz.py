"""A few thousand cases; `make fuzz` runs a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import run_cases
from tests.fuzz.targets import TARGETS, parts

SEED, CASES = 13, 3000
KEPT = Path("build/fuzz")


@pytest.mark.parametrize(("name", "cases"), parts(None, CASES).items())
def test_nothing_breaks(
    name: str, cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS[name].build(tmp_path / "samples", monkeypatch)
    target.prepare(tmp_path / "whole")
    counts, faults = run_cases(target, SEED, range(cases), tmp_path, KEPT.absolute())
    assert not faults, "\n".join(["", *map(str, faults[:20]), f"{len(faults)} of {cases}"])
    assert counts["refused"] > 0
