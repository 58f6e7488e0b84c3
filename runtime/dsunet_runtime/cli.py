"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside commands."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet_runtime.bounds import MAX_DIMENSION
from dsunet_runtime.cli_bench import bench
from dsunet_runtime.command import complain, make_app
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet_runtime.jobs import Job
    from dsunet_runtime.segmenter import Segmenter

PROGRAM = "dsunet-run"

app = make_app(PROGRAM, "Run an exported DSU-Net: images in, masks out.", RuntimeFault)


@app.command()
def predict(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="What dsunet-export wrote.")],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO_OR_FOLDER",
            help="Image files, or folders of them (without their subfolders).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the masks, NAME.png; made if needed.")
    ],
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="Also draw each mask over its image: NAME_overlay.jpg."),
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_DIMENSION,
            help="Images computed at once.  [default: the artifact's, or 1]",
        ),
    ] = None,
    provider: Annotated[
        Provider | None,
        typer.Option(help="What ONNX Runtime computes with; not for engines.  [default: cpu]"),
    ] = None,
) -> None:
    """Write a mask for every image.

    A mask is an 8-bit grey PNG of the size of the upright image.  An older one of the same name is
    overwritten.  An image that fails is reported and the rest goes on.

    Exit codes: 0 all masks are written, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    import dsunet_runtime
    from dsunet_runtime.jobs import left_out, plan, results_folder

    jobs = plan(images, output, overlays=overlay)
    with (
        dsunet_runtime.load(artifact, provider=provider) as segmenter,
        results_folder(output),
    ):
        if segmenter.manifest.weights_are_random:
            complain(PROGRAM, f"{artifact} has random weights: its masks mean nothing")
        for line in left_out(images):
            complain(PROGRAM, line)
        if _run(segmenter, jobs, batch or segmenter.best_batch):
            raise typer.Exit(1)


app.command()(bench)


def _run(segmenter: Segmenter, jobs: list[Job], batch: int) -> int:
    """Carry out the jobs, report on them, and say how many failed."""
    from dsunet_runtime.images import first_frames
    from dsunet_runtime.prediction import check_batch
    from dsunet_runtime.prediction import predict as predict_jobs
    from dsunet_runtime.progress import Progress

    check_batch(segmenter, jobs, batch)
    failed = 0
    of_several = []
    start = time.perf_counter()
    with warnings.catch_warnings(), Progress(len(jobs), sys.stderr) as progress:
        # Pillow warns of what does not keep it from decoding: odd EXIF data, very large images.
        warnings.simplefilter("ignore")
        for outcome in predict_jobs(segmenter, jobs, batch):
            if outcome.fault is not None:
                failed += 1
                progress.say(f"{PROGRAM}: {outcome.fault}")
            if outcome.is_first_of_several:
                of_several.append(outcome.job.image)
            progress.advance()
    if of_several:
        complain(PROGRAM, first_frames(of_several))
    seconds = time.perf_counter() - start
    masks = f"{len(jobs) - failed} mask{'' if len(jobs) - failed == 1 else 's'}"
    print(f"{masks}, {failed} failed, {seconds:.1f} s, {len(jobs) / seconds:.1f} images/s")
    return failed
