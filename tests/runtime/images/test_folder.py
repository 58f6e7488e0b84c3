"""Which files of a folder are images, and how the others are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from dsunet_runtime import ImageError, OutputError
from dsunet_runtime.images.folder import SUFFIXES, ImageFolder
from dsunet_runtime.prediction.jobs import images_at, left_out
from tests.runtime.plans import jobs_of

NOT_DECODED = {
    "EPS": "runs Ghostscript", "WMF": "needs Windows", "PDF": "written only",
    "PALM": "written only", "MPEG": "a video", "BUFR": "header only", "GRIB": "header only",
    "HDF5": "header only", "IPTC": "header only",
}  # fmt: skip
"""What Pillow registers and does not decode by itself."""


def test_suffixes_are_all_that_pillow_decodes() -> None:
    Image.init()
    registered = Image.registered_extensions()
    unknown = sorted(suffix for suffix, kind in registered.items() if kind not in NOT_DECODED)
    assert [suffix for suffix in unknown if suffix not in SUFFIXES] == []
    assert not [s for s in SUFFIXES if registered.get(s) in NOT_DECODED]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    for name in ("a.JFIF", "b.png", "c.txt", "d.TXT", "e.xyz", "README", ".hidden.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    folder = ImageFolder.read(tmp_path)
    assert [path.name for path in folder.images] == ["a.JFIF", "b.png"]
    line = f"{tmp_path}: left out 4 files: .txt (2), no suffix (1), .xyz (1); 1 subfolder"
    assert left_out([tmp_path, tmp_path / "b.png"]) == [line]


def test_many_kinds_are_one_line(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"a.x{number}").touch()
    assert ImageFolder.read(tmp_path).left_out == (
        f"{tmp_path}: left out 9 files: .x0 (1), .x1 (1), .x2 (1), .x3 (1), .x4 (1), .x5 (1), "
        "3 more kinds"
    )


def test_nothing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert left_out([tmp_path]) == []


def test_a_folder_without_images_is_described(tmp_path: Path) -> None:
    (tmp_path / "a.heic").touch()
    with pytest.raises(ImageError, match=r"no images in this folder .*; left out 1 file: \.heic"):
        images_at(tmp_path)


def test_what_has_the_name_of_an_image_is_never_left_out(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    names = [job.image.name for job in jobs_of([tmp_path], tmp_path / "out")]
    assert names == ["folder.png", "link.jpg", "loop.jpg"]
    assert images_at(tmp_path / "link.jpg") == [tmp_path / "link.jpg"]


def test_masks_whose_names_differ_by_composition_only(tmp_path: Path) -> None:
    for folder, name in (("x", "caf\u00e9.png"), ("y", "cafe\u0301.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    with pytest.raises(OutputError, match=r"would be written for both .* rename one"):
        jobs_of([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
