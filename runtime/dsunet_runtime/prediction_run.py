"""Running jobs with progress and messages, for `dsunet-run predict` and `dsunet predict`."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Sequence

from dsunet_runtime.command import complain
from dsunet_runtime.image_folder import counted
from dsunet_runtime.images import first_frames
from dsunet_runtime.jobs import Job
from dsunet_runtime.prediction import Outcome, Steps, check_batch, predict
from dsunet_runtime.progress import Progress


def run_jobs(program: str, segmenter: Steps, jobs: Sequence[Job], batch: int) -> int:
    """Run the jobs, print errors prefixed with the program, and return the number of failures."""
    check_batch(segmenter, jobs, batch)
    return report(program, jobs, predict(segmenter, jobs, batch))


def report(program: str, jobs: Sequence[Job], outcomes: Iterable[Outcome]) -> int:
    """Show progress, errors and a summary of outcomes, and return the number of failures."""
    failed = 0
    of_several = []
    start = time.perf_counter()
    with warnings.catch_warnings(), Progress(len(jobs), sys.stderr) as progress:
        # Pillow warns about odd EXIF data and very large images, which it decodes all the same.
        warnings.simplefilter("ignore")
        for outcome in outcomes:
            if outcome.fault is not None:
                failed += 1
                progress.say(f"{program}: {outcome.fault}")
            if outcome.is_first_of_several:
                of_several.append(outcome.job.image)
            progress.advance()
    if of_several:
        complain(program, first_frames(of_several))
    seconds = time.perf_counter() - start
    masks = counted(len(jobs) - failed, "mask")
    print(f"{masks}, {failed} failed, {seconds:.1f} s, {len(jobs) / seconds:.1f} images/s")
    return failed
