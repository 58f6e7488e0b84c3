"""Find, check and hash the training and validation data of a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dsunet.data.checks import check_pairs
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import Pair, Pairing, find_pairs, read_image_folder
from dsunet.errors import DataError
from dsunet.training.options import TrainingOptions
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.message_text import reason


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training and validation images of a run, and their hashes."""

    pairs: tuple[Pair, ...]
    unlabelled: tuple[Path, ...]
    """Training images without a mask; they are numbered after the pairs."""
    val_pairs: tuple[Pair, ...]
    """At most `val_count` evenly spaced validation pairs; empty without validation."""
    image_hashes: tuple[str, ...]
    """SHA-256 of each training image's file, of the pairs and then of the unlabelled."""
    sha256: str
    """SHA-256 of the names and contents of all training files, in order."""

    @property
    def count(self) -> int:
        """Number of training images."""
        return len(self.image_hashes)


def find_training_data(options: TrainingOptions) -> TrainingData:
    """Find all pairs and read them once.

    Raises DataError with a list of files that are unpaired, unreadable or of the wrong size.
    """
    pairings = _pairings(options.images, options.masks, options.datasets, Split.TRAIN)
    val_datasets = (options.val_dataset,) if options.val_dataset else ()
    val_pairings = _pairings(options.val_images, options.val_masks, val_datasets, Split.TEST)
    pairs = [pair for pairing in pairings for pair in pairing.pairs]
    val_pairs = [pair for pairing in val_pairings for pair in pairing.pairs]
    val_pairs = evenly_spaced(val_pairs, options.val_count)
    folders = [read_image_folder(path) for path in options.unlabelled]
    unlabelled = [image for folder in folders for image in folder.images]
    left_out = [folder.left_out for folder in folders if folder.left_out]
    all_pairings = [*pairings, *val_pairings]
    check_pairs(
        [*pairs, *val_pairs],
        unlabelled=unlabelled,
        defects=[defect for pairing in all_pairings for defect in pairing.defects],
        notes=[
            *(note for pairing in all_pairings for note in pairing.notes),
            *left_out,
        ],
    )
    images, masks = (_hashes([getattr(pair, name) for pair in pairs]) for name in ("image", "mask"))
    alone = _hashes(unlabelled)
    lines = [
        *zip(images, masks, (pair.stem for pair in pairs), strict=True),
        *zip(alone, (image.stem for image in unlabelled), strict=True),
    ]
    text = "".join(" ".join(line) + "\n" for line in lines)
    sha256 = hashlib.sha256(os.fsencode(text)).hexdigest()  # names may not be valid UTF-8
    return TrainingData(
        tuple(pairs), tuple(unlabelled), tuple(val_pairs), (*images, *alone), sha256
    )


def evenly_spaced(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count` evenly spaced pairs, beginning with the first."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[k * len(pairs) // count] for k in range(count)]


def _pairings(
    images: Path | None, masks: Path | None, datasets: tuple[Path, ...], split: Split
) -> list[Pairing]:
    folders = [find_dataset_folders(folder, split) for folder in datasets]
    if images is not None and masks is not None:
        folders.append((images, masks))
    return [find_pairs(*folder) for folder in folders]


def _hashes(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(_sha256, paths))


def _sha256(path: Path) -> str:
    try:
        return digest(path).sha256
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error
