from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pages.commands import ROOT, run_page
from tests.runtime.video.clips import Audio, read, write


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    photograph = np.asarray(Image.open(ROOT / "assets/astronaut.jpg").resize((96, 96)))
    frames = [np.roll(photograph, 2 * index, 1) for index in range(6)]
    write(folder / "clip.mp4", frames, audio=Audio())
    run_page("docs/video.md", folder, tmp_path_factory)
    for name in ("masks.mp4", "seen.mp4", "cut-out.webm"):
        written = read(folder / name)
        assert [frame.shape for frame in written.frames] == [(96, 96, 3)] * 6
        assert written.audio
    assert len(list((folder / "frames").iterdir())) == 12
