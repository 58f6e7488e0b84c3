"""`dsunet predict`: masks from a checkpoint, without an export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.cli_checkpoint import Dinov2File, Sam2File, WeightsKey, notice
from dsunet.device import Device
from dsunet_runtime.bounds import MAX_DIMENSION
from dsunet_runtime.command_options import integer
from dsunet_runtime.manifest import MaskForm
from dsunet_runtime.predict_options import Images, Masks, Overlay, mask_destination


def predict(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint file, or the folder of a run.",
            show_default=False,
        ),
    ],
    images: Images,
    output: Masks,
    overlay: Overlay = False,
    batch: Annotated[int, integer(low=1, high=MAX_DIMENSION, help="Images computed at once.")] = 1,
    mask: Annotated[
        MaskForm,
        typer.Option(
            help="stretched: the paper's mask, each one stretched to span 0 to 255.  "
            "probability: times 255."
        ),
    ] = MaskForm.STRETCHED,
    weights: WeightsKey = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    device: Annotated[
        Device, typer.Option(help="Where PyTorch computes: auto is a GPU if there is one.")
    ] = Device.AUTO,
) -> None:
    """Write a mask for every image, computed by PyTorch.

    The files are those of `dsunet-run predict`, which needs an export and no PyTorch, and is
    faster.  An image that fails is reported and the rest goes on.

        dsunet predict runs/sod photos/ -o masks/ --overlay

    Exit codes: 0 all masks are written, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    folder, name = mask_destination(output, images)

    from dsunet import load_model
    from dsunet.evaluation.predictors import TorchPredictor
    from dsunet_runtime.jobs import left_out, plan, results_folder
    from dsunet_runtime.prediction_run import run_jobs

    jobs = plan(images, folder, overlays=overlay, name=name)
    target = device.resolve()
    model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    with TorchPredictor(model.to(target), target, mask) as predictor, results_folder(folder):
        for line in left_out(images):
            notice(line)
        if run_jobs("dsunet", predictor, jobs, batch):
            raise typer.Exit(1)
