from __future__ import annotations

from pathlib import Path

import pytest

from tests.data_and_scenes.folders import folder
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder(tmp_path / "Imgs")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return folder(tmp_path / "GT")
