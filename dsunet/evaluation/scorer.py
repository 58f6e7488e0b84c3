"""Compute metrics in worker processes, in parallel with the prediction of further masks.

Workers receive paths and return scores, so memory grows by the scores only: 8 kB per image.  Masks
of models are written to files and read again, as in the field's protocol.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dsunet.data.alignment import is_close, resampled_mask
from dsunet.data.image_files import read_mask, read_prediction
from dsunet.errors import DataError, EvaluationError, message_with_list
from dsunet.evaluation.metrics import ImageScores, score_image
from dsunet.evaluation.predictors import Predictor
from dsunet.evaluation.test_sets import Case, TestSet
from dsunet.process_pool import open_pool
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.files import make_folder
from dsunet_runtime.prediction.jobs import Job
from dsunet_runtime.prediction.ordered_map import map_ready
from dsunet_runtime.prediction.predict_jobs import predict_jobs
from dsunet_runtime.progress import Progress

_AHEAD = 8
"""Number of cases queued per worker."""


@dataclass(frozen=True, slots=True)
class ScoredMask:
    """One mask and its scores."""

    case: Case
    scores: ImageScores
    highest: int
    """Maximum of the mask, 0 to 255."""
    is_resampled: bool
    """Whether the mask was resampled to the size of its ground truth."""


class Scorer(Closeable):
    """Scores masks in worker processes until it is closed."""

    def __init__(self, workers: int | None = None, *, resize: bool = False) -> None:
        """Start the workers.

        Args:
            workers: Number of processes; None for one per core.
            resize: Resample masks of any size to that of their ground truth.
        """
        self._workers = workers or os.cpu_count() or 1
        self._resize = resize
        self._pool = open_pool(self._workers)

    def close(self) -> None:
        """End the processes and cancel the cases that have not started."""
        self._pool.shutdown(cancel_futures=True)

    def score(self, cases: Iterable[Case], progress: Progress) -> list[ScoredMask]:
        """Score all cases, in order, while `cases` may still predict the next ones.

        Raises DataError with a list of files that are unreadable or differ in size, and
        EvaluationError if a worker is killed.
        """
        scored, messages = [], []
        score = partial(score_case, resize=self._resize)
        try:
            for result in map_ready(self._pool, score, cases, _AHEAD * self._workers):
                if isinstance(result, ScoredMask):
                    scored.append(result)
                else:
                    messages.append(result)
                progress.advance()
        except BrokenProcessPool as error:
            raise EvaluationError(
                "a worker process was killed, probably for lack of memory: use fewer --workers"
            ) from error
        if messages:
            raise DataError(
                message_with_list(f"{len(messages)} masks cannot be evaluated", messages)
            )
        return scored


def score_case(case: Case, *, resize: bool = False) -> ScoredMask | str:
    """Score a mask file against its ground-truth file; return a message if that is impossible.

    A mask of another size is resampled as in published evaluations (`resampled_mask`): always if
    it differs by a few pixels, otherwise only with `resize`.
    """
    try:
        ground_truth, prediction = read_mask(case.ground_truth), read_prediction(case.prediction)
    except DataError as error:
        return str(error)
    if not (resize or is_close(prediction.shape, ground_truth.shape)):
        return (
            f"{case.prediction}: is {prediction.shape[1]}×{prediction.shape[0]} pixels, its "
            f"ground truth {ground_truth.shape[1]}×{ground_truth.shape[0]}"
        )
    scores = score_image(resampled_mask(prediction, ground_truth.shape), ground_truth)
    return ScoredMask(case, scores, int(prediction.max()), prediction.shape != ground_truth.shape)


def predict_cases(predictor: Predictor, test_set: TestSet, folder: Path) -> Generator[Case]:
    """Predict the mask of each image, write it as FOLDER/STEM.png, and yield its case.

    Raises EvaluationError for the first image that fails, and OutputError if the folder cannot be
    written.
    """
    make_folder(folder)
    jobs = [Job.of_mask(pair.image, folder / f"{pair.stem}.png") for pair in test_set.pairs]
    outcomes = predict_jobs(predictor, jobs, predictor.best_batch)
    for pair, outcome in zip(test_set.pairs, outcomes, strict=True):
        if outcome.fault is not None:
            raise EvaluationError(str(outcome.fault)) from outcome.fault
        yield Case(pair.stem, pair.image, outcome.job.outputs[0].path, pair.mask)
