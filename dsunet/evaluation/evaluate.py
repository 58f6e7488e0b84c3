"""Evaluate models, or saved masks, on one or more datasets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

from dsunet.data.checks import check_pairs
from dsunet.data.defects import raise_defects
from dsunet.data.image_files import LAST_LABEL
from dsunet.errors import DataError, EvaluationError
from dsunet.evaluation.predictors import Predictor
from dsunet.evaluation.results import DatasetResults, ModelResult
from dsunet.evaluation.scorer import ScoredMask, Scorer, predict_cases
from dsunet.evaluation.test_sets import TestSet, check_fit
from dsunet_runtime.files import resolved, staging_folder
from dsunet_runtime.progress import Progress

_UNUSABLE = "the masks cannot be evaluated"

OpenPredictor = Callable[[Path], Predictor]


def evaluate_models(
    models: Sequence[Path],
    test_sets: Sequence[TestSet],
    open_model: OpenPredictor,
    scorer: Scorer,
    masks: Path,
    stream: TextIO,
) -> list[DatasetResults]:
    """Evaluate models one after the other, each on all datasets.

    Args:
        models: Checkpoints or artifacts; the first is the reference for differences.
        test_sets: The datasets.
        open_model: Opens a model for prediction, usually `predictors.open_predictor`.
        scorer: Computes the metrics.
        masks: Folder for the masks DATASET/STEM.png, or with several models
            MODEL/DATASET/STEM.png; existing files are overwritten.
        stream: Stream of the progress bar.

    Returns:
        One entry per dataset.

    Raises:
        DataError: Images or masks cannot be used.
        EvaluationError: A model fails on an image, or masks would be written among the inputs.
    """
    labels = model_labels(models)
    folders = [masks / name for name in _folder_names(models)] if len(models) > 1 else [masks]
    for test_set in test_sets:
        _check_overwriting(test_set, [folder / test_set.name for folder in folders])
    check_test_sets(test_sets, stream)
    results: list[list[ModelResult]] = [[] for _ in test_sets]
    total = len(models) * sum(len(test_set.pairs) for test_set in test_sets)
    with Progress(total, stream) as progress:
        for path, name, folder in zip(models, labels, folders, strict=True):
            with open_model(path) as predictor:
                for of_set, test_set in zip(results, test_sets, strict=True):
                    # Prediction must end before the predictor is closed, also after an error.
                    with closing(
                        predict_cases(predictor, test_set, folder / test_set.name)
                    ) as cases:
                        of_set.append(ModelResult.of(name, scorer.score(cases, progress)))
    return [DatasetResults(*each) for each in zip(test_sets, results, strict=True)]


def evaluate_predictions(
    predictions: Path,
    test_sets: Sequence[TestSet],
    scorer: Scorer,
    stream: TextIO,
    *,
    resize: bool,
) -> list[DatasetResults]:
    """Evaluate saved masks: those in `predictions`/DATASET, or for one dataset in `predictions`.

    Prints on `stream` which files are ignored.  Raises DataError if the masks hold class labels, or
    with a list of masks that are missing, unreadable, or do not match their ground truth
    (`check_fit`).
    """
    several = len(test_sets) > 1
    all_cases = []
    raise_defects(_UNUSABLE, [defect for test_set in test_sets for defect in test_set.defects])
    for test_set in test_sets:
        inside = predictions / test_set.name
        if several and not inside.is_dir():
            raise DataError(
                f"{inside}: is not a folder: with several datasets, give a folder of masks for each"
            )
        all_cases.append(test_set.cases(inside if inside.is_dir() else predictions))
    check_fit((case for cases in all_cases for case in cases), resize=resize)
    with Progress(sum(map(len, all_cases)), stream) as progress:
        for note in (note for test_set in test_sets for note in test_set.notes):
            progress.say(note)
        scored = [scorer.score(cases, progress) for cases in all_cases]
    _check_labels(predictions, [one for of_set in scored for one in of_set])
    name = resolved(predictions).name
    return [
        DatasetResults(test_set, [ModelResult.of(name, of_set)])
        for test_set, of_set in zip(test_sets, scored, strict=True)
    ]


def check_test_sets(test_sets: Sequence[TestSet], stream: TextIO) -> None:
    """Read all images and masks once; raise DataError as `check_pairs` does."""
    check_pairs(
        [pair for test_set in test_sets for pair in test_set.pairs],
        stream,
        defects=[defect for test_set in test_sets for defect in test_set.defects],
        notes=[note for test_set in test_sets for note in test_set.notes],
    )


def _check_labels(predictions: Path, scored: Sequence[ScoredMask]) -> None:
    """Raise DataError if all masks hold only values of class labels."""
    highest = max((one.highest for one in scored), default=0)
    if 0 < highest <= LAST_LABEL:
        raise DataError(
            f"{predictions}: the maximum of all {len(scored)} masks is {highest}, which suggests "
            "class labels, not grey levels: save masks with 255 for the object and 0 elsewhere"
        )


@contextmanager
def mask_folder(kept: Path | None) -> Iterator[Path]:
    """The folder for a model's masks: `kept`, or a temporary one.

    A temporary folder of a process that was killed is removed by the next process.
    """
    if kept is not None:
        yield kept
        return
    with staging_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


def model_labels(models: Sequence[Path]) -> list[str]:
    """File names of the models, or paths if names repeat.  Raises EvaluationError on duplicates."""
    if len({resolved(path) for path in models}) < len(models):
        raise EvaluationError("a model is given twice: give each model once")
    return (
        [path.name for path in models]
        if _have_unique_names(models)
        else [str(path) for path in models]
    )


def _folder_names(models: Sequence[Path]) -> list[str]:
    """Folder names for the masks of each model: its file name, numbered if names repeat."""
    if _have_unique_names(models):
        return [path.name for path in models]
    return [f"{number}-{path.name}" for number, path in enumerate(models, start=1)]


def _have_unique_names(models: Sequence[Path]) -> bool:
    return len({path.name for path in models}) == len(models)


def _check_overwriting(test_set: TestSet, folders: Sequence[Path]) -> None:
    """Raise EvaluationError if a model's masks would overwrite files of the dataset."""
    inputs = {resolved(path.parent) for pair in test_set.pairs for path in (pair.image, pair.mask)}
    for folder in folders:
        if resolved(folder) in inputs:
            raise EvaluationError(
                f"{folder}: has the images or masks of {test_set.name}: save the masks in another "
                "folder"
            )
