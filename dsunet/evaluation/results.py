"""What an evaluation found, and that as one JSON document."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsunet.evaluation.judging import Judged
from dsunet.evaluation.metrics import Scores, summarize
from dsunet.evaluation.published import PublishedRow, rows_for
from dsunet.evaluation.testsets import TestSet
from dsunet_runtime.message_text import readable

METRICS = tuple(field.name for field in dataclasses.fields(Scores))


@dataclass(frozen=True, slots=True)
class Result:
    """What one model's masks of one dataset are worth."""

    model: str
    judged: Sequence[Judged]
    scores: Scores

    @classmethod
    def of(cls, model: str, judged: Sequence[Judged]) -> Result:
        """With the scores of the whole dataset.  Raises EvaluationError if there are no masks."""
        return cls(readable(model), judged, summarize([one.scores for one in judged]))

    @property
    def undefined(self) -> list[str]:
        """The stems whose S-measure is NaN in py_sod_metrics; that of the dataset then is too."""
        return [one.case.stem for one in self.judged if math.isnan(one.scores.s_measure)]


@dataclass(frozen=True, slots=True)
class DatasetResults:
    """One dataset, judged with one model or several; what the paper says of it stands beside."""

    test_set: TestSet
    results: Sequence[Result]

    @property
    def published(self) -> list[PublishedRow]:
        """The paper's rows, if it knows the dataset."""
        return rows_for(self.test_set.name)

    @property
    def name(self) -> str:
        """The dataset's name, as reports have it."""
        return readable(self.test_set.name)

    @property
    def resampled(self) -> int:
        """How many truths are not of the size of the masks that were judged by them."""
        return max(sum(one.is_resampled for one in result.judged) for result in self.results)

    @property
    def title(self) -> str:
        """Its name, and of how many images the figures are."""
        count, left_out = len(self.test_set.pairs), self.test_set.left_out
        share = f"only the first {count} of {count + left_out}" if left_out else f"{count}"
        return f"{self.name}, {share} images"


def difference(result: Result, first: Result) -> dict[str, float]:
    """How far each figure lies from that of the first model."""
    return {name: getattr(result.scores, name) - getattr(first.scores, name) for name in METRICS}


def as_document(evaluation: Sequence[DatasetResults]) -> dict[str, Any]:
    """Everything but the single images, as JSON takes it: NaN is null."""
    return {
        "format_version": 1,
        "computed_with": f"pysodmetrics {importlib.metadata.version('pysodmetrics')}",
        "datasets": [_dataset(one) for one in evaluation],
    }


def _dataset(one: DatasetResults) -> dict[str, Any]:
    first, *others = one.results
    return {
        "name": one.name,
        "images": len(one.test_set.pairs),
        "images_left_out": one.test_set.left_out,
        "images_resampled": one.resampled,
        "results": [
            {"model": first.model, "scores": _plain(dataclasses.asdict(first.scores))},
            *(
                {
                    "model": other.model,
                    "scores": _plain(dataclasses.asdict(other.scores)),
                    "difference_to_first": _plain(difference(other, first)),
                }
                for other in others
            ),
        ],
        "published": [
            {"method": row.method, "table": row.table, "scores": row.figures}
            for row in one.published
        ],
    }


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}
