"""The lines of `predict --json`: one JSON object per image.  docs/formats.md describes them."""

from __future__ import annotations

import json
from typing import Any

from dsunet_runtime.masks.mask_from_logits import MaskStatistics
from dsunet_runtime.prediction.jobs import Job
from dsunet_runtime.prediction.predict_jobs import Outcome

_DIGITS = 6


def outcome_line(outcome: Outcome) -> str:
    """Return the line of an image that was processed."""
    seconds = round(outcome.seconds, _DIGITS)
    if outcome.fault is not None:
        return _line(outcome.job, outputs=[], seconds=seconds, error=str(outcome.fault))
    assert outcome.mask is not None
    return _line(
        outcome.job,
        seconds=seconds,
        **statistics_values(outcome.mask),
    )


def statistics_values(mask: MaskStatistics) -> dict[str, Any]:
    """Return the size and the statistics of a mask as values of a line."""
    return {
        "width": mask.width,
        "height": mask.height,
        "mask": {
            "mean": round(mask.mean, _DIGITS),
            "maximum": mask.maximum,
            "inside": round(mask.inside, _DIGITS),
        },
    }


def skipped_line(job: Job) -> str:
    """Return the line of an image whose files exist already."""
    return _line(job, skipped=True)


def _line(job: Job, **values: Any) -> str:
    outputs = [str(output.path) for output in job.outputs]
    return json.dumps({"image": str(job.image), "outputs": outputs, **values})
