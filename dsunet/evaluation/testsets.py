"""What masks are judged on: truths, and the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from dsunet.data.checks import alignment_fault
from dsunet.data.faults import Fault, FaultKind, refuse
from dsunet.data.layouts import Split, is_generic, locate
from dsunet.data.pairs import Pair, Pairing, files_by_stem, find_pairs, key
from dsunet.errors import DataError, EvaluationError, listed
from dsunet.evaluation.published import known_dataset
from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import resolved
from dsunet_runtime.images import read_header


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
    faults: Sequence[Fault] = ()
    """What has no partner, so that the set cannot be used."""
    notes: Sequence[str] = ()
    """A line for each kind of files that is left out."""

    @classmethod
    def of_dataset(cls, name: str, folder: Path) -> Self:
        """The test split of a dataset as it is published, or as `dsunet generate` writes it."""
        return cls._of(name, find_pairs(*locate(folder, Split.TEST)))

    @classmethod
    def of_folders(cls, images: Path, masks: Path) -> Self:
        """Two folders, named after the dataset that they seem to belong to."""
        pairing = find_pairs(images, masks)
        return cls._of(_name_of(masks), pairing)

    @classmethod
    def of_predictions(cls, predictions: Path, masks: Path) -> Self:
        """Masks in a folder and their truths in another, without images."""
        # What lies in the folder of another model makes up for no mask that is missing in this one.
        pairing = find_pairs(predictions, masks, shared_masks=False)
        return cls._of(_name_of(masks), pairing, has_images=False)

    @classmethod
    def _of(cls, name: str, pairing: Pairing, *, has_images: bool = True) -> Self:
        return cls(name, pairing.pairs, has_images, 0, pairing.faults, pairing.notes)

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
        missing = [pair.stem for pair in self.pairs if key(pair.stem) not in found]
        if missing:
            line = f"{predictions}: {len(missing)} of {len(self.pairs)} images of {self.name} have"
            raise DataError(listed(f"{line} no mask there", missing))
        return [
            Case(pair.stem, pair.image, found[key(pair.stem)], pair.mask) for pair in self.pairs
        ]


def check_names(test_sets: Sequence[TestSet]) -> None:
    """Raise EvaluationError unless names differ, and can be names of folders."""
    for test_set in test_sets:
        name = test_set.name
        if sum(other.name == name for other in test_sets) > 1:
            raise EvaluationError(f"two datasets are called {name}: give each its own name")
        if name in ("", ".", "..") or Path(name).name != name:
            raise EvaluationError(f"{name!r} is no name for a dataset: give one without slashes")


def check_fit(cases: Iterable[Case], *, resize: bool) -> None:
    """Raise DataError that lists what does not fit its truth: predictions of another size, unless
    they may be resampled, and images and predictions that EXIF turns where the truth is not turned.

    All of that is read from the files' headers.  What cannot be read is left to the decoder.
    """
    faults = [fault for case in cases for fault in _misfits(case, resize=resize)]
    refuse("the masks do not all fit their truths", faults)


def _misfits(case: Case, *, resize: bool) -> Iterator[Fault]:
    try:
        truth = read_header(case.truth)
        of_prediction = alignment_fault(
            case.prediction, read_header(case.prediction), "truth", truth
        )
        of_image = case.image and alignment_fault(
            case.image, read_header(case.image), "truth", truth
        )
    except ImageError:
        return
    if of_image and of_image.kind is FaultKind.UNCLEAR:
        yield of_image
    if of_prediction and of_prediction.kind is not FaultKind.UNLIKE:
        yield of_prediction
    elif of_prediction and not resize:
        yield Fault(FaultKind.RESIZABLE, of_prediction.line)


def _name_of(masks: Path) -> str:
    """The last part of a path that the paper knows as a dataset, or else the last that does not
    only say what it holds, as `Mask` and `test` do.
    """
    parts = resolved(masks).parts[::-1]
    known = (part for part in parts if known_dataset(part))
    telling = (part for part in parts[:-1] if not is_generic(part))
    return next(known, None) or next(telling, parts[0])
