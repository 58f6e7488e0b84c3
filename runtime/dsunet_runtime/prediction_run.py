"""What `dsunet-run predict` and `dsunet predict` do with their jobs, and print about it."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence

from dsunet_runtime.command import complain
from dsunet_runtime.image_folder import counted
from dsunet_runtime.images import first_frames
from dsunet_runtime.jobs import Job
from dsunet_runtime.prediction import Steps, check_batch, predict
from dsunet_runtime.progress import Progress


def run_jobs(program: str, segmenter: Steps, jobs: Sequence[Job], batch: int) -> int:
    """Carry out the jobs, report on them under the program's name, and return how many failed."""
    check_batch(segmenter, jobs, batch)
    failed = 0
    of_several = []
    start = time.perf_counter()
    with warnings.catch_warnings(), Progress(len(jobs), sys.stderr) as progress:
        # Pillow warns of what does not keep it from decoding: odd EXIF data, very large images.
        warnings.simplefilter("ignore")
        for outcome in predict(segmenter, jobs, batch):
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
