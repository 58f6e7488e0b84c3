"""From masks and truths to scores: in processes beside each other, and beside the prediction.

The workers get paths and give numbers, so that a dataset needs no more memory than its scores: 8 kB
an image.  A model's masks go through files, as they do in the field's protocol.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.data.pairs import read_image, read_mask
from dsunet.errors import DataError, EvaluationError, listed
from dsunet.evaluation.metrics import ImageScores, score_image
from dsunet.evaluation.predictors import Predictor
from dsunet.evaluation.testsets import Case, TestSet
from dsunet.processes import open_pool
from dsunet_runtime.closing import Closing
from dsunet_runtime.jobs import Job, make_folder
from dsunet_runtime.prediction import behind, predict
from dsunet_runtime.progress import Progress

_AHEAD = 8
"""Cases handed to each worker before its results are awaited."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One mask and what it is worth."""

    case: Case
    scores: ImageScores


class Judge(Closing):
    """Scores masks in worker processes until it is closed."""

    def __init__(self, workers: int | None = None, *, resize: bool = False) -> None:
        """`workers`: None for one a core.  `resize`: take masks of another size than the truth."""
        self._workers = workers or os.cpu_count() or 1
        self._resize = resize
        self._pool = open_pool(self._workers)

    def close(self) -> None:
        """End the processes, without waiting for what is not begun."""
        self._pool.shutdown(cancel_futures=True)

    def judge(self, cases: Iterable[Case], progress: Progress) -> list[Judged]:
        """Score each case, in order, while `cases` may still be computing the next ones.

        Raises DataError that lists the files that cannot be read or are not of one size.
        """
        judged, faults = [], []
        score = partial(judge_case, resize=self._resize)
        try:
            for result in behind(self._pool, score, cases, _AHEAD * self._workers):
                if isinstance(result, Judged):
                    judged.append(result)
                else:
                    faults.append(result)
                progress.advance()
        except BrokenProcessPool as error:
            raise EvaluationError(
                "a scoring process was killed, which is mostly for memory: use fewer --workers"
            ) from error
        if faults:
            raise DataError(listed(f"{len(faults)} masks cannot be judged", faults))
        return judged


def judge_case(case: Case, *, resize: bool = False) -> Judged | str:
    """Score the mask in one file by the truth in another; a line where that cannot be done.

    With `resize` a mask of another size is resampled as PySODEvalToolkit does, by OpenCV's bilinear
    filter.
    """
    try:
        truth, prediction = read_mask(case.truth), read_prediction(case.prediction)
    except DataError as error:
        return str(error)
    if prediction.shape != truth.shape:
        if not resize:
            return (
                f"{case.prediction}: is {prediction.shape[1]}×{prediction.shape[0]} pixels, its "
                f"truth {truth.shape[1]}×{truth.shape[0]}"
            )
        prediction = resized(prediction, truth.shape)
    return Judged(case, score_image(prediction, truth))


def read_prediction(path: Path) -> NDArray[np.uint8]:
    """A predicted mask H×W, 0 to 255: any values will do; colours become grey.

    Raises DataError if it cannot be read.
    """
    return np.asarray(Image.fromarray(read_image(path)).convert("L"))


def resized(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask as height×width of `shape`."""
    import cv2

    height, width = shape
    resampled = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resampled, np.uint8)


def predicted(predictor: Predictor, test_set: TestSet, folder: Path) -> Generator[Case]:
    """Write the mask of each image as FOLDER/STEM.png, and name it as soon as it is there.

    Raises EvaluationError at the first image that fails, and OutputError if the folder cannot be
    written.
    """
    make_folder(folder)
    jobs = [Job(pair.image, folder / f"{pair.stem}.png", None) for pair in test_set.pairs]
    outcomes = predict(predictor, jobs, predictor.best_batch)
    for pair, outcome in zip(test_set.pairs, outcomes, strict=True):
        if outcome.fault is not None:
            raise EvaluationError(str(outcome.fault)) from outcome.fault
        yield Case(pair.stem, pair.image, outcome.job.mask, pair.mask)
