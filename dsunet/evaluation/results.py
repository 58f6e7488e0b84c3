"""The results of an evaluation, also as a JSON document."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsunet.evaluation.metrics import Scores, summarize
from dsunet.evaluation.published import PublishedRow, published_images, rows_for
from dsunet.evaluation.scorer import ScoredMask
from dsunet.evaluation.test_sets import TestSet
from dsunet_runtime.message_text import readable

METRICS = tuple(field.name for field in dataclasses.fields(Scores))


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The scores of one model on one dataset."""

    model: str
    scored: Sequence[ScoredMask]
    scores: Scores

    @classmethod
    def of(cls, model: str, scored: Sequence[ScoredMask]) -> ModelResult:
        """Summarise the scores of all masks.  Raises EvaluationError if there are none."""
        return cls(readable(model), scored, summarize([one.scores for one in scored]))

    @property
    def undefined(self) -> list[str]:
        """Stems whose S-measure is NaN in py_sod_metrics, which makes that of the dataset NaN."""
        return [one.case.stem for one in self.scored if math.isnan(one.scores.s_measure)]


@dataclass(frozen=True, slots=True)
class DatasetResults:
    """The results of all models on one dataset, with the published rows."""

    test_set: TestSet
    results: Sequence[ModelResult]

    @property
    def published(self) -> list[PublishedRow]:
        """The published rows for the dataset; empty unless it has all of its images."""
        return rows_for(self.test_set.name, len(self.test_set.pairs))

    @property
    def incomparable(self) -> int | None:
        """Number of images of the published values, if another number was evaluated."""
        images = published_images(self.test_set.name)
        return None if images == len(self.test_set.pairs) else images

    @property
    def name(self) -> str:
        """The dataset's name for reports, with control characters escaped."""
        return readable(self.test_set.name)

    @property
    def resampled(self) -> int:
        """Number of masks that were resampled to the size of their ground truth."""
        return max(sum(one.is_resampled for one in result.scored) for result in self.results)

    @property
    def title(self) -> str:
        """Name of the dataset and the number of evaluated images."""
        count, left_out = len(self.test_set.pairs), self.test_set.left_out
        count_text = f"only the first {count} of {count + left_out}" if left_out else f"{count}"
        return f"{self.name}, {count_text} images"


def score_differences(result: ModelResult, first: ModelResult) -> dict[str, float]:
    """The difference of each score to that of the first model."""
    return {name: getattr(result.scores, name) - getattr(first.scores, name) for name in METRICS}


def results_document(evaluation: Sequence[DatasetResults]) -> dict[str, Any]:
    """The results without those of single images, for JSON; NaN becomes null."""
    return {
        "format_version": 1,
        "computed_with": f"pysodmetrics {importlib.metadata.version('pysodmetrics')}",
        "datasets": [_dataset_document(dataset) for dataset in evaluation],
    }


def _dataset_document(dataset: DatasetResults) -> dict[str, Any]:
    first, *others = dataset.results
    return {
        "name": dataset.name,
        "images": len(dataset.test_set.pairs),
        "images_left_out": dataset.test_set.left_out,
        "images_resampled": dataset.resampled,
        "results": [
            {"model": first.model, "scores": _plain(dataclasses.asdict(first.scores))},
            *(
                {
                    "model": other.model,
                    "scores": _plain(dataclasses.asdict(other.scores)),
                    "difference_to_first": _plain(score_differences(other, first)),
                }
                for other in others
            ),
        ],
        "published": [
            {"method": row.method, "table": row.table, "scores": row.figures}
            for row in dataset.published
        ],
    }


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}
