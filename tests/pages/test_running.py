from __future__ import annotations

import os
import re
import subprocess
import sys
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
    modes = {path.name: Image.open(path).mode for path in (folder / "pictures").iterdir()}
    assert modes == {
        "astronaut.png": "L",
        "astronaut_background.jpg": "RGB",
        "astronaut_cutout.png": "RGBA",
        "astronaut_overlay.jpg": "RGB",
    }
    _check_the_pipe(folder)


def _check_the_pipe(folder: Path) -> None:
    """With a file in the place of the download."""
    page = (ROOT / "docs/running.md").read_text()
    (line,) = re.findall(r"^    (curl .+)$", page, flags=re.MULTILINE)
    local = line.replace("curl -s https://example.com/cat.jpg", "cat assets/astronaut.jpg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-c", local], cwd=folder, check=True, env={**os.environ, "PATH": path})
    assert Image.open(folder / "cat.png").mode == "RGBA"


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
