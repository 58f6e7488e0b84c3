from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A small artifact of the frames form with its self-test."""
    return give_selftest(artifacts.frames(tmp_path / "frames.onnx"), cases_for())
