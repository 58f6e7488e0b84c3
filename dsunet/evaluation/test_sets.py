"""Test sets: ground-truth masks, and the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from dsunet.data.checks import alignment_defect
from dsunet.data.defects import Defect, DefectKind, raise_defects
from dsunet.data.layouts import Split, find_dataset_folders, is_generic
from dsunet.data.pairs import Pair, Pairing, files_by_stem, find_pairs, normalized
from dsunet.errors import DataError, EvaluationError, message_with_list
from dsunet.evaluation.published import known_dataset
from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import resolved
from dsunet_runtime.images.decode import read_header


@dataclass(frozen=True, slots=True)
class Case:
    """One predicted mask to evaluate, with its image and ground truth."""

    stem: str
    image: Path | None
    prediction: Path
    ground_truth: Path


@dataclass(frozen=True, slots=True)
class TestSet:
    """The test images of one dataset, or only their ground truth, sorted by stem."""

    __test__ = False  # pytest must not collect it as a class of tests

    name: str
    pairs: Sequence[Pair]
    has_images: bool = True
    """If false, `image` of each pair is the prediction."""
    left_out: int = 0
    """Number of images of the dataset that are not evaluated."""
    defects: Sequence[Defect] = ()
    """Files without a partner, for which the set cannot be used."""
    notes: Sequence[str] = ()
    """One line per kind of ignored files."""

    @classmethod
    def of_dataset(cls, name: str, folder: Path) -> Self:
        """The test split of a dataset in its published layout, or that of `dsunet generate`."""
        return cls._of(name, find_pairs(*find_dataset_folders(folder, Split.TEST)))

    @classmethod
    def of_folders(cls, images: Path, masks: Path) -> Self:
        """A folder of images and one of masks; the name of the dataset is taken from the path."""
        pairing = find_pairs(images, masks)
        return cls._of(_name_of(masks), pairing)

    @classmethod
    def of_predictions(cls, predictions: Path, masks: Path) -> Self:
        """A folder of predictions and one of ground-truth masks, without images."""
        # Files of other models must not hide that a mask is missing here.
        pairing = find_pairs(predictions, masks, predictions=True)
        return cls._of(_name_of(masks), pairing, has_images=False)

    @classmethod
    def _of(cls, name: str, pairing: Pairing, *, has_images: bool = True) -> Self:
        return cls(name, pairing.pairs, has_images, 0, pairing.defects, pairing.notes)

    def first(self, count: int | None) -> Self:
        """The first `count` pairs; None for all."""
        kept = self.pairs[:count]
        return replace(self, pairs=kept, left_out=len(self.pairs) - len(kept))

    def cases(self, predictions: Path) -> list[Case]:
        """Pair the ground truth with the predicted masks in a folder; other masks are ignored.

        Raises DataError with a list of missing masks.
        """
        if not self.has_images:
            return [Case(pair.stem, None, pair.image, pair.mask) for pair in self.pairs]
        predicted = files_by_stem(predictions)
        missing = [pair.stem for pair in self.pairs if normalized(pair.stem) not in predicted]
        if missing:
            line = f"{predictions}: {len(missing)} of {len(self.pairs)} images of {self.name} have"
            raise DataError(message_with_list(f"{line} no mask there", missing))
        return [
            Case(pair.stem, pair.image, predicted[normalized(pair.stem)], pair.mask)
            for pair in self.pairs
        ]


def check_dataset_names(test_sets: Sequence[TestSet]) -> None:
    """Raise EvaluationError unless the names are unique and valid folder names."""
    for test_set in test_sets:
        name = test_set.name
        if sum(other.name == name for other in test_sets) > 1:
            raise EvaluationError(f"two datasets are named {name}: give each its own name")
        if name in ("", ".", "..") or Path(name).name != name:
            raise EvaluationError(f"{name!r} is not a valid dataset name: use one without slashes")


def check_fit(cases: Iterable[Case], *, resize: bool) -> None:
    """Raise DataError with a list of files that do not match their ground truth.

    These are predictions of another size, unless `resize` is true, and images and predictions whose
    EXIF orientation differs from that of the ground truth.  Only headers are read; unreadable files
    are reported later by the decoder.
    """
    defects = [defect for case in cases for defect in _misfits(case, resize=resize)]
    raise_defects("some masks do not match their ground truth", defects)


def _misfits(case: Case, *, resize: bool) -> Iterator[Defect]:
    try:
        ground_truth = read_header(case.ground_truth)
        of_prediction = alignment_defect(
            case.prediction, read_header(case.prediction), "ground truth", ground_truth
        )
        of_image = case.image and alignment_defect(
            case.image, read_header(case.image), "ground truth", ground_truth
        )
    except ImageError:
        return
    if of_image and of_image.kind is DefectKind.UNCLEAR:
        yield of_image
    if of_prediction and of_prediction.kind is not DefectKind.DIFFERENT_SIZE:
        yield of_prediction
    elif of_prediction and not resize:
        yield Defect(DefectKind.RESIZABLE, of_prediction.line)


def _name_of(masks: Path) -> str:
    """Return the last part of a path that names a dataset of the paper.

    Without one, the last part that is not generic, such as `Mask` and `test`.
    """
    parts = resolved(masks).parts[::-1]
    known = (part for part in parts if known_dataset(part))
    telling = (part for part in parts[:-1] if not is_generic(part))
    return next(known, None) or next(telling, parts[0])
