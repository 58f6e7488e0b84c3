"""A prediction on the command line: progress, errors, notices and a summary."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable

from dsunet_runtime.commands.app import complain
from dsunet_runtime.images.decode import first_frames, no_objects
from dsunet_runtime.masks.mask_from_logits import MASK_THRESHOLD
from dsunet_runtime.message_text import counted
from dsunet_runtime.prediction.jobs import Plan
from dsunet_runtime.prediction.json_lines import outcome_line, skipped_line
from dsunet_runtime.prediction.predict_jobs import Outcome, Steps, check_batch, predict_jobs
from dsunet_runtime.progress import Progress


def run_jobs(
    program: str, segmenter: Steps, plan: Plan, batch: int, *, as_json: bool = False
) -> int:
    """Compute the jobs, report their outcomes, and return the number of failures.

    Args:
        program: Name of the command, with which errors begin.
        segmenter: The segmenter, or another object with its three steps.
        plan: The jobs.
        batch: Number of images per inference call.
        as_json: Whether to print a line of JSON for each image on standard output.
    """
    check_batch(segmenter, plan.jobs, batch)
    return report_outcomes(
        program, plan, predict_jobs(segmenter, plan.jobs, batch), as_json=as_json
    )


def report_outcomes(
    program: str, plan: Plan, outcomes: Iterable[Outcome], *, as_json: bool = False
) -> int:
    """Print errors as outcomes arrive, then notices and a summary; return the number of failures.

    The summary is printed on standard output, or on standard error if results are printed there.
    """
    start = time.perf_counter()
    seen = []
    if as_json:
        for job in plan.skipped:
            print(skipped_line(job))
    with warnings.catch_warnings(), Progress(len(plan.jobs), sys.stderr) as progress:
        # Pillow warns about odd EXIF data and very large images, which it decodes all the same.
        warnings.simplefilter("ignore")
        for outcome in outcomes:
            seen.append(outcome)
            if outcome.fault is not None:
                progress.say(f"{program}: {outcome.fault}")
            if as_json:
                progress.close()
                print(outcome_line(outcome), flush=True)
            progress.advance()
    for notice in _notices(seen):
        complain(program, notice)
    seconds = time.perf_counter() - start
    failed = sum(outcome.fault is not None for outcome in seen)
    summary = _summary(plan, failed, seconds)
    stream = sys.stderr if as_json or plan.folder is None else sys.stdout
    print(summary, file=stream)
    return failed


def _notices(outcomes: list[Outcome]) -> list[str]:
    """Return the notices about all images."""
    notices = []
    if several := [outcome.job.image for outcome in outcomes if outcome.is_first_of_several]:
        notices.append(first_frames(several))
    empty = {
        outcome.job.image: outcome.highest_level
        for outcome in outcomes
        if outcome.fault is None
        and outcome.highest_level is not None
        and outcome.highest_level < MASK_THRESHOLD
    }
    if empty:
        notices.append(no_objects([*empty], max(empty.values())))
    return notices


def _summary(plan: Plan, failed: int, seconds: float) -> str:
    count = len(plan.jobs)
    parts = [counted(count - failed, "mask"), f"{failed} failed"]
    if plan.skipped:
        parts.append(f"{len(plan.skipped):,} skipped")
    return ", ".join([*parts, f"{seconds:.1f} s", f"{count / seconds:.1f} images/s"])
