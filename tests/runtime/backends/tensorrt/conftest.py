"""An engine for the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime import engines


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return engines.frames(tmp_path / "a.engine")
