"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.bounds import MAX_DIMENSION
from dsunet_runtime.cli_bench import bench
from dsunet_runtime.command import complain, make_app
from dsunet_runtime.command_options import integer
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.file_kinds import is_engine
from dsunet_runtime.predict_options import Images, Masks, Overlay, place_of_masks
from dsunet_runtime.provider import Provider

PROGRAM = "dsunet-run"

app = make_app(PROGRAM, "Run an exported DSU-Net: images in, masks out.", RuntimeFault)


@app.command()
def predict(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="What dsunet-export wrote.")],
    images: Images,
    output: Masks,
    overlay: Overlay = False,
    batch: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_DIMENSION,
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
    if provider is not None and is_engine(artifact):
        raise typer.BadParameter(f"--provider is for ONNX files, and {artifact} is an engine")
    folder, name = place_of_masks(output, images)

    import dsunet_runtime
    from dsunet_runtime.jobs import left_out, plan, results_folder
    from dsunet_runtime.prediction_run import run_jobs

    jobs = plan(images, folder, overlays=overlay, name=name)
    with (
        dsunet_runtime.load(artifact, provider=provider) as segmenter,
        results_folder(folder),
    ):
        if segmenter.manifest.weights_are_random:
            complain(PROGRAM, f"{artifact} has random weights: its masks mean nothing")
        for line in left_out(images):
            complain(PROGRAM, line)
        if run_jobs(PROGRAM, segmenter, jobs, batch or segmenter.best_batch):
            raise typer.Exit(1)


app.command()(bench)
