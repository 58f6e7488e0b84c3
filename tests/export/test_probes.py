"""Sample images from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from dsunet_export.probes import unused_in_words
from dsunet_runtime import ImageError


def test_unused_files_of_a_folder_are_reported(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 9)), Image.new("L", (9, 9), 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.png")
    (tmp_path / "notes.txt").touch()
    assert unused_in_words(tmp_path) == [
        f"{tmp_path}: left out 1 file: .txt (1)",
        "several frames in a.gif: only the first is used",
    ]
    assert unused_in_words(tmp_path / "b.png") == []


def test_all_images_that_cannot_be_read_are_listed_at_once(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "c.jpg").symlink_to("absent")
    with pytest.raises(ImageError, match=r"2 images cannot be read; .*:\n.*b\.png: .*\n.*c\.jpg: "):
        unused_in_words(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in this folder"):
        unused_in_words(tmp_path)
