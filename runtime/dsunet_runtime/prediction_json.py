"""The lines of `predict --json`: one JSON object per image.  docs/formats.md describes them."""

from __future__ import annotations

import json
from typing import Any

from dsunet_runtime.jobs import Job
from dsunet_runtime.prediction import Outcome

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
        width=outcome.mask.width,
        height=outcome.mask.height,
        mask={
            "mean": round(outcome.mask.mean, _DIGITS),
            "maximum": outcome.mask.maximum,
            "inside": round(outcome.mask.inside, _DIGITS),
        },
    )


def skipped_line(job: Job) -> str:
    """Return the line of an image whose files exist already."""
    return _line(job, skipped=True)


def _line(job: Job, **values: Any) -> str:
    outputs = [str(output.path) for output in job.outputs]
    return json.dumps({"image": str(job.image), "outputs": outputs, **values})
