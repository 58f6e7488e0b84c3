"""Images for commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.runtime import artifacts


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Three images of two sizes, each of another format, and a file that is no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:20, :30]).save(folder / "b.JPG")
    Image.fromarray(photo).convert("L").save(folder / "c.tif")
    (folder / "readme.txt").write_text("not an image")
    return folder


@pytest.fixture
def tree(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Images in a folder and its subfolders."""
    folder = tmp_path / "photos"
    for place in ("a.png", "sub/b.jpg", "sub/deeper/c.png", ".hidden/d.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / place)
    (folder / "sub/notes.txt").touch()
    (folder / "again").symlink_to("sub", target_is_directory=True)
    return folder


@pytest.fixture
def image(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture
def mask(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return artifacts.expected_frames_mask(photo)
