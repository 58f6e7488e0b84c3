"""Folder layouts of published datasets.

Names are not case-sensitive.  A folder of images and a folder of masks are side by side, in the
dataset's folder or in the subfolder of a split:

| dataset | images | masks |
|---|---|---|
| DUTS | DUTS-TR/DUTS-TR-Image, DUTS-TE/DUTS-TE-Image | DUTS-TR/DUTS-TR-Mask, … |
| DUT-OMRON | DUT-OMRON-image | pixelwiseGT-new-PNG |
| HKU-IS | imgs | gt |
| PASCAL-S | Imgs | GT |
| ECSSD | images | ground_truth_mask |
| CAMO | Images/Train, Images/Test | GT, of both |
| COD10K | Train/Image, Test/Image | Train/GT_Object, Test/GT_Object |
| COD as SINet packs it | TrainDataset/Imgs, TestDataset/NAME/Imgs | the same with GT |
| CHAMELEON, NC4K | Imgs | GT |
| `dsunet generate` | Image | Mask |

Archives often unpack into one folder inside another, so a folder that contains only one folder is
searched too.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path

from dsunet.errors import DataError, message_with_list
from dsunet_runtime.images.folder import SUFFIXES
from dsunet_runtime.message_text import reason, shorten

UNFINISHED = "unfinished.txt"
"""File that `dsunet generate` keeps in its folder until the last scene is written."""

_IMAGES = frozenset({"image", "images", "img", "imgs", "im"})
_MASKS = frozenset(
    {"mask", "masks", "gt", "gts", "gt_object", "groundtruth", "ground_truth", "ground_truth_mask"}
    | {"pixelwisegt-new-png", "dut-omron-gt-pixelwise", "dut-omron-gt-pixelwise.zip"}
)
_REMEDY = "give the folders with --images and --masks"


class Split(enum.StrEnum):
    """A split of a dataset; a dataset without splits is used whole for both."""

    TRAIN = "train"
    TEST = "test"

    @property
    def endings(self) -> frozenset[str]:
        """Possible last words of the name of a folder of this split."""
        short = {Split.TRAIN: "tr", Split.TEST: "te"}[self]
        long = [self.value, f"{self.value}ing"]
        return frozenset({short, *long, *(f"{word}dataset" for word in long)})


def find_dataset_folders(folder: Path, split: Split) -> tuple[Path, Path]:
    """Find the folder of images and the folder of masks of a published dataset.

    Raises DataError if none are found, or if the choice is ambiguous.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder: give the folder of a dataset")
    if (folder / UNFINISHED).exists():
        raise DataError(
            f"{folder}: is incomplete because dsunet generate was interrupted: remove it and "
            "generate it again"
        )
    try:
        candidates = _search(folder, split)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {reason(error)}") from error
    if not candidates:
        absent = [path.name for path in folder.iterdir() if path.is_symlink() and not path.exists()]
        links = f"; broken links: {shorten(sorted(absent))}" if absent else ""
        raise DataError(
            f"{folder}: no folder of images beside a folder of masks was found, neither directly "
            f"nor in a {split.value} folder (images: {' '.join(sorted(_IMAGES))} or …-image; "
            f"masks: {' '.join(sorted(_MASKS))} or …-mask): {_REMEDY}{links}"
        )
    if len(candidates) > 1:
        raise DataError(
            message_with_list(
                f"{folder}: several folders of images and masks were found; {_REMEDY}, or give a "
                "subfolder",
                [f"{images}, {masks}" for images, masks in candidates],
            )
        )
    return candidates[0]


def is_generic(name: str) -> bool:
    """Whether a folder's name is generic, such as `Mask` or `test`, and not that of a dataset."""
    name = name.lower()
    return name in _IMAGES | _MASKS or any(name in split.endings for split in Split)


def _search(folder: Path, split: Split) -> list[tuple[Path, Path]]:
    inside = _folders(folder)
    images = [path for path in inside if _is_named(path, _IMAGES, "image")]
    masks = [path for path in inside if _is_named(path, _MASKS, "mask")]
    candidates = [
        pair for one in images for other in masks if (pair := _with_files(one, other, split))
    ]
    parts = [path for path in inside if _is_part(path, split) and path not in {*images, *masks}]
    for part in parts:
        # SINet's TestDataset holds a folder for each dataset.
        candidates += _search(part, split) or [
            pair for dataset in _folders(part) for pair in _search(dataset, split)
        ]
    if not candidates and len(inside) == 1 and not _is_other_part(inside[0], split):
        candidates = _search(inside[0], split)
    return candidates


def _with_files(images: Path, masks: Path, split: Split) -> tuple[Path, Path] | None:
    """The folders that contain the files; splits may share the masks (CAMO)."""
    found_images, found_masks = _files_below(images, split), _files_below(masks, split)
    return (found_images, found_masks) if found_images and found_masks else None


def _files_below(folder: Path, split: Split) -> Path | None:
    inside = _folders(folder)
    if parts := [path for path in inside if _is_part(path, split)]:
        return parts[0]
    if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
        return folder
    if len(inside) == 1 and not _is_other_part(inside[0], split):
        return _files_below(inside[0], split)
    return None


def _folders(folder: Path) -> list[Path]:
    skipped = (".", "__MACOSX")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(skipped))


def _is_named(path: Path, names: frozenset[str], ending: str) -> bool:
    name = path.name.lower()
    return name in names or name.endswith(f"-{ending}")


def _is_part(path: Path, split: Split) -> bool:
    return re.split(r"[-_ ]", path.name.lower())[-1] in split.endings


def _is_other_part(path: Path, split: Split) -> bool:
    return any(_is_part(path, other) for other in Split if other is not split)
