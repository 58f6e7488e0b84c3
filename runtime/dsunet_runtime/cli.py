"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.bounds import MAX_DIMENSION
from dsunet_runtime.cli_bench import bench
from dsunet_runtime.command import complain, make_app
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.provider import Provider

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
    from dsunet_runtime.prediction_run import run_jobs

    jobs = plan(images, output, overlays=overlay)
    with (
        dsunet_runtime.load(artifact, provider=provider) as segmenter,
        results_folder(output),
    ):
        if segmenter.manifest.weights_are_random:
            complain(PROGRAM, f"{artifact} has random weights: its masks mean nothing")
        for line in left_out(images):
            complain(PROGRAM, line)
        if run_jobs(PROGRAM, segmenter, jobs, batch or segmenter.best_batch):
            raise typer.Exit(1)


app.command()(bench)
