"""Match images and masks by their names."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dsunet.data.defects import Defect, DefectKind
from dsunet.errors import DataError, message_with_list
from dsunet_runtime.files import resolved
from dsunet_runtime.images.folder import ImageFolder
from dsunet_runtime.message_text import counted, reason

NON_CAMOUFLAGED = "COD10K-NonCAM-"
"""Name prefix of COD10K's images without a camouflaged object, which papers do not use."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image file and its mask file, whose names differ in the suffix only."""

    stem: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Pairing:
    """The pairs of a folder of images and a folder of masks, and the files without a partner."""

    pairs: tuple[Pair, ...]
    """Sorted by stem."""
    defects: tuple[Defect, ...] = ()
    """Files without a partner, and duplicate names."""
    notes: tuple[str, ...] = ()
    """One line per kind of ignored files."""


@dataclass(frozen=True, slots=True)
class _FilesByStem:
    """The images or masks of a folder, by the normalised form of their stems."""

    files: Mapping[str, Path]
    twins: tuple[str, ...]
    notes: tuple[str, ...]


def find_pairs(images: Path, masks: Path, *, predictions: bool = False) -> Pairing:
    """Match the images of one folder with the masks of another.

    Files are recognised by `dsunet_runtime.images.folder.SUFFIXES`, in upper or lower case.  Hidden
    files, subfolders and COD10K's images without a camouflaged object are ignored.  If several
    folders of images share one folder of masks (CAMO's Images/Train and Images/Test beside GT), the
    masks of the other folders' images are ignored too, unless `predictions` is true: then `images`
    are predictions, and the folders beside them those of other models.

    Raises DataError if one of the two is not a folder or has no images.
    """
    found_images, found_masks = _read(images), _read(masks)
    lone_images = found_images.files.keys() - found_masks.files
    lone_masks = found_masks.files.keys() - found_images.files
    others = _stems_beside(images, masks) & lone_masks if lone_masks and not predictions else set()
    kind = "prediction" if predictions else "image"
    defects = [
        *_unpaired(found_images, lone_images, f"no mask in {masks}"),
        *_unpaired(found_masks, lone_masks - others, f"no {kind} in {images}"),
        *(Defect(DefectKind.TWINS, line) for line in (*found_images.twins, *found_masks.twins)),
    ]
    notes = [*found_images.notes, *found_masks.notes]
    if others:
        notes.append(f"{masks}: left out {counted(len(others), 'mask')} of images in other folders")
    return Pairing(
        pairs=tuple(
            Pair(path.stem, path, found_masks.files[stem])
            for stem, path in sorted(found_images.files.items())
            if stem in found_masks.files
        ),
        defects=tuple(defects),
        notes=tuple(notes),
    )


def files_by_stem(folder: Path) -> Mapping[str, Path]:
    """The images or masks of a folder by the normalised form of their stems, as in `find_pairs`.

    Raises DataError if there are none, or with a list of duplicate stems.
    """
    files = _read(folder)
    if files.twins:
        raise DataError(message_with_list(f"{len(files.twins)} {DefectKind.TWINS}", files.twins))
    return files.files


def normalized(stem: str) -> str:
    """The Unicode NFC form of a stem: archives differ in how they encode accents."""
    return unicodedata.normalize("NFC", stem)


def read_image_folder(path: Path) -> ImageFolder:
    """Read a folder of images or masks.  Raises DataError if it is none or has no images."""
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder: give a folder of images or masks")
    try:
        folder = ImageFolder.read(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error
    if not folder.images:
        raise DataError(folder.no_images)
    return folder


def _read(path: Path) -> _FilesByStem:
    folder = read_image_folder(path)
    files = [file for file in folder.images if not file.name.startswith(NON_CAMOUFLAGED)]
    if not files:
        raise DataError(folder.no_images)
    notes = [folder.left_out] if folder.left_out else []
    if skipped := len(folder.images) - len(files):
        notes.append(f"{path}: left out {counted(skipped, 'file')} named {NON_CAMOUFLAGED}…")
    stems: dict[str, Path] = {}
    twins = []
    for file in files:
        twin = stems.setdefault(normalized(file.stem), file)
        if twin is not file:
            twins.append(f"{twin} and {file.name}")
    return _FilesByStem(stems, tuple(twins), tuple(notes))


def _unpaired(folder: _FilesByStem, stems: set[str], missing: str) -> list[Defect]:
    return [
        Defect(DefectKind.UNPAIRED, f"{folder.files[stem]}: {missing}") for stem in sorted(stems)
    ]


def _stems_beside(images: Path, masks: Path) -> set[str]:
    """Normalised stems of the images in the folders beside `images`, if these may share `masks`.

    They do not if `masks` is itself beside `images`, or has the name of one of those folders.
    """
    images, masks = resolved(images), resolved(masks)
    if masks.parent == images.parent or masks.name == images.name:
        return set()
    try:
        others = [path for path in images.parent.iterdir() if path.is_dir() and path != images]
        return {normalized(file.stem) for folder in others for file in folder.iterdir()}
    except OSError:  # unreadable folders are ignored
        return set()
