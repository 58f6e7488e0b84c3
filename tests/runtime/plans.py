"""Jobs for the tests: images and the files that are written for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsunet_runtime.masks.renderings import Cutout, Mask, Overlay
from dsunet_runtime.prediction.jobs import Destination, Job, OutputKind, plan

MASK = OutputKind(Mask(), ".png")
OVERLAY = OutputKind(Overlay(), ".jpg")
CUTOUT = OutputKind(Cutout(), ".png")


def jobs_of(
    sources: Sequence[Path], folder: Path, *kinds: OutputKind, **options: bool
) -> list[Job]:
    """The jobs for masks, and for other kinds of output."""
    return plan(sources, Destination(folder, (MASK, *kinds)), **options).jobs


def outputs_of(job: Job) -> list[Path]:
    return [output.path for output in job.outputs]
