from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dsunet_runtime import Frame
from tests.pages.commands import ROOT, run_page


def test_commands_in_their_order(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_page("docs/running.md", folder, tmp_path_factory)
    mask = np.asarray(Image.open(folder / "masks/astronaut.png"))
    assert (mask.shape, mask.dtype) == ((512, 512), np.uint8)


def test_lines_for_other_libraries() -> None:
    """With stand-ins for what the libraries give: frames of 6×4."""
    page = (ROOT / "docs/running.md").read_text()
    lines = re.findall(r"^(    frame = Frame.+\n(?:     .+\n)*)", page, flags=re.MULTILINE)
    planes = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    padded = np.pad(planes, ((0, 0), (0, 2))).tobytes()
    objects = {
        "Frame": Frame,
        "bgr": np.zeros((4, 6, 3), np.uint8),
        "video_frame": SimpleNamespace(
            to_ndarray=lambda **options: {"nv12": planes}[options["format"]]
        ),
        "memory": SimpleNamespace(data=padded),
        "info": SimpleNamespace(width=6, height=4, stride=[8, 8, 0, 0], offset=[0, 32, 0, 0]),
        "mapped": padded,
        "pix": SimpleNamespace(width=6, height=4, bytesperline=8),
    }
    frames = []
    for line in lines:
        exec(textwrap.dedent(line), objects)
        frames.append(objects["frame"].to_rgb())
    _, pyav, gstreamer, v4l2 = frames
    np.testing.assert_array_equal(pyav, gstreamer)
    assert {frame.shape for frame in frames} == {(4, 6, 3)}
    np.testing.assert_array_equal(v4l2, Frame.from_nv12(planes).to_rgb())
