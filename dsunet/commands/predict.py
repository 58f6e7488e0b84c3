"""The command `dsunet predict`: masks from a checkpoint, without an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import (
    CheckpointToRead,
    Dinov2File,
    Sam2File,
    WeightsKey,
    notice,
)
from dsunet.commands.help_panels import COMPUTATION
from dsunet.torch_device import TorchDevice
from dsunet_runtime.artifact.bounds import MAX_DIMENSION
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import OUTPUT, integer
from dsunet_runtime.commands.predict_arguments import PredictArguments
from dsunet_runtime.commands.predict_options import (
    BackgroundOption,
    BinaryOption,
    CameraOption,
    CutoutOption,
    ImagesArgument,
    JsonOption,
    OutputOption,
    OverlayOption,
    RecursiveOption,
    SkipExistingOption,
    SmoothOption,
)

if TYPE_CHECKING:
    from dsunet.evaluation.predictors import TorchPredictor
    from dsunet_runtime.prediction.jobs import Plan
    from dsunet_runtime.video.job import VideoJob

EXAMPLES = examples(
    "dsunet predict runs/sod photos/ -o masks/ --overlay",
    "dsunet predict model.pth photo.jpg -o mask.png",
)


def predict(
    checkpoint: CheckpointToRead,
    output: OutputOption,
    images: ImagesArgument = None,
    camera: CameraOption = None,
    binary: BinaryOption = None,
    cutout: CutoutOption = None,
    background: BackgroundOption = None,
    overlay: OverlayOption = False,
    smooth: SmoothOption = 0,
    recursive: RecursiveOption = False,
    skip_existing: SkipExistingOption = False,
    as_json: JsonOption = False,
    batch: Annotated[
        int,
        integer(
            low=1,
            high=MAX_DIMENSION,
            help="Number of images per forward pass.",
            rich_help_panel=COMPUTATION,
        ),
    ] = 1,
    mask: Annotated[
        MaskForm,
        typer.Option(
            help="How probabilities become an 8-bit mask.  probability: probability × 255, "
            "rounded.  stretched: min-max normalised to 0 to 255, as in the paper; this amplifies "
            "noise in images without an object.",
            rich_help_panel=OUTPUT,
        ),
    ] = MaskForm.PROBABILITY,
    weights: WeightsKey = None,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    device: Annotated[
        TorchDevice,
        typer.Option(
            help="Device for PyTorch; auto is CUDA if available, else the CPU.",
            rich_help_panel=COMPUTATION,
        ),
    ] = TorchDevice.AUTO,
) -> None:
    """Predict masks, cut-outs and other results with PyTorch.

    Writes the same files as `dsunet-run predict`, which is faster but needs an exported artifact.
    If an image fails, the error is printed, the remaining images are processed, and the exit code
    is 1.
    """
    work = PredictArguments(
        images=images or (),
        output=output,
        camera=camera,
        smooth=smooth,
        binary=binary,
        cutout=cutout,
        background=background,
        overlay=overlay,
        recursive=recursive,
        skip_existing=skip_existing,
        as_json=as_json,
    ).plan()

    from dsunet import load_model
    from dsunet.evaluation.predictors import TorchPredictor
    from dsunet_runtime.commands.run_jobs import report_outcomes
    from dsunet_runtime.prediction.jobs import Plan

    if isinstance(work, Plan):
        for line in work.left_out:
            notice(line)
        if not work.jobs:
            report_outcomes("dsunet", work, [], as_json=as_json)
            return
    target = device.resolve()
    model = load_model(checkpoint, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    with TorchPredictor(model.to(target), target, mask) as predictor:
        if not _write_results(predictor, work, batch, as_json=as_json):
            raise typer.Exit(1)


def _write_results(
    predictor: TorchPredictor, work: VideoJob | Plan, batch: int, *, as_json: bool
) -> bool:
    """Compute and write the results; return whether none failed."""
    from dsunet_runtime.commands.run_jobs import run_jobs
    from dsunet_runtime.commands.run_video import run_video
    from dsunet_runtime.prediction.jobs import Plan, results_folder

    if not isinstance(work, Plan):
        return run_video("dsunet", predictor, work, batch, as_json=as_json)
    with results_folder(work.folder):
        return not run_jobs("dsunet", predictor, work, batch, as_json=as_json)
