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

from dsunet.data.alignment import is_close, resized
from dsunet.data.files import read_mask, read_prediction
from dsunet.errors import DataError, EvaluationError, listed
from dsunet.evaluation.metrics import ImageScores, score_image
from dsunet.evaluation.predictors import Predictor
from dsunet.evaluation.testsets import Case, TestSet
from dsunet.processes import open_pool
from dsunet_runtime.closeable import Closeable
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
    highest: int
    """The highest value of the mask, of 255."""
    is_resampled: bool
    """Whether it was of another size than its truth."""


class Judge(Closeable):
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

    A mask of another size is resampled, as the published evaluations do (see `resized`): one that
    is a few pixels larger or smaller always, any other with `resize`.
    """
    try:
        truth, prediction = read_mask(case.truth), read_prediction(case.prediction)
    except DataError as error:
        return str(error)
    if not (resize or is_close(prediction.shape, truth.shape)):
        return (
            f"{case.prediction}: is {prediction.shape[1]}×{prediction.shape[0]} pixels, its "
            f"truth {truth.shape[1]}×{truth.shape[0]}"
        )
    scores = score_image(resized(prediction, truth.shape), truth)
    return Judged(case, scores, int(prediction.max()), prediction.shape != truth.shape)


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
