"""What masks are judged on: truths, and the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from PIL import Image

from dsunet.data.layouts import Split, locate
from dsunet.data.pairs import Pair, files_by_stem, find_pairs
from dsunet.errors import DataError, EvaluationError, listed
from dsunet.evaluation.published import known_dataset
from dsunet_runtime.files import resolved


@dataclass(frozen=True, slots=True)
class Case:
    """One mask to judge."""

    stem: str
    image: Path | None
    prediction: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class TestSet:
    """The test images of one dataset, or only their truths, in the order of their stems."""

    __test__ = False  # no class of tests, whatever pytest makes of its name

    name: str
    pairs: Sequence[Pair]
    has_images: bool = True
    """Without them, `image` of each pair is the prediction."""
    left_out: int = 0
    """How many more images the dataset has."""

    @classmethod
    def of_dataset(cls, name: str, folder: Path) -> Self:
        """The test split of a dataset as it is published, or as `dsunet generate` writes it."""
        return cls(name, find_pairs(*locate(folder, Split.TEST)))

    @classmethod
    def of_folders(cls, images: Path, masks: Path) -> Self:
        """Two folders, named after the dataset that they seem to belong to."""
        return cls(_name_of(masks), find_pairs(images, masks))

    @classmethod
    def of_predictions(cls, predictions: Path, masks: Path) -> Self:
        """Masks in a folder and their truths in another, without images."""
        # What lies in the folder of another model makes up for no mask that is missing in this one.
        pairs = find_pairs(predictions, masks, shared_masks=False)
        return cls(_name_of(masks), pairs, has_images=False)

    def first(self, count: int | None) -> Self:
        """No more than the first `count`; None for all."""
        kept = self.pairs[:count]
        return replace(self, pairs=kept, left_out=len(self.pairs) - len(kept))

    def cases(self, predictions: Path) -> list[Case]:
        """Each truth with its mask in a folder.

        Raises DataError that lists the truths that have none; other masks are left alone.
        """
        if not self.has_images:
            return [Case(pair.stem, None, pair.image, pair.mask) for pair in self.pairs]
        found = files_by_stem(predictions)
        missing = [pair.stem for pair in self.pairs if pair.stem not in found]
        if missing:
            line = f"{predictions}: {len(missing)} of {len(self.pairs)} images of {self.name} have"
            raise DataError(listed(f"{line} no mask there", missing))
        return [Case(pair.stem, pair.image, found[pair.stem], pair.mask) for pair in self.pairs]


def check_names(test_sets: Sequence[TestSet]) -> None:
    """Raise EvaluationError unless names differ, and can be names of folders."""
    for test_set in test_sets:
        name = test_set.name
        if sum(other.name == name for other in test_sets) > 1:
            raise EvaluationError(f"two datasets are called {name}: give each its own name")
        if name in ("", ".", "..") or Path(name).name != name:
            raise EvaluationError(f"{name!r} is no name for a dataset: give one without slashes")


def check_sizes(cases: Iterable[Case]) -> None:
    """Raise DataError that lists the predictions that have another size than their truth.

    Sizes are read from the files' headers.  What cannot be read is left to whoever decodes it.
    """
    faults = []
    for case in cases:
        try:
            with Image.open(case.prediction) as prediction, Image.open(case.truth) as truth:
                sizes = [f"{file.width}×{file.height}" for file in (prediction, truth)]
        except Exception:  # Pillow's parsers raise anything
            continue
        if sizes[0] != sizes[1]:
            faults.append(f"{case.prediction}: is {sizes[0]} pixels, its truth {sizes[1]}")
    if faults:
        raise DataError(
            listed(
                f"{len(faults)} masks are not of their truth's size; write them at that size, or "
                "let --resize resample them",
                faults,
            )
        )


def _name_of(masks: Path) -> str:
    """The last part of a path that the paper knows as a dataset, or else the folder's own name."""
    parts = resolved(masks).parts[::-1]
    return next((part for part in parts if known_dataset(part)), parts[0])
