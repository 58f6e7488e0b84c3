from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.commands import run_page
from tests.runtime.workers.conftest import contents


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("ray")
    run_page("docs/scale.md", folder, tmp_path_factory)
    masks = contents(folder / "masks")
    assert set(masks) == {"astronaut.png", "camera.png"}
    assert contents(folder / "masks-by-ray") == masks
