from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pages.commands import run_page


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_page("docs/running.md", folder, tmp_path_factory)
    mask = np.asarray(Image.open(folder / "masks/astronaut.png"))
    assert (mask.shape, mask.dtype) == ((512, 512), np.uint8)
