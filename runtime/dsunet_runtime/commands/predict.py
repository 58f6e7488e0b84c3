"""`dsunet-run predict`: masks and cut-outs of images or a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet_runtime.artifact.bounds import MAX_DIMENSION
from dsunet_runtime.commands.app import complain, examples
from dsunet_runtime.commands.artifact_options import (
    ArtifactArgument,
    CpuFallbackOption,
    DomainOption,
    ProviderOption,
    SelfTestOption,
    check_provider_applies,
)
from dsunet_runtime.commands.options import integer
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
from dsunet_runtime.commands.worker_options import (
    RayOption,
    ThreadsPerWorkerOption,
    WorkersOption,
    check_one_process,
    check_parallelism,
)
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.workers.parallelism import Parallelism

if TYPE_CHECKING:
    from dsunet_runtime.artifact.manifest import Manifest
    from dsunet_runtime.video.job import VideoJob
    from dsunet_runtime.workers.worker import LoadOptions

_PROGRAM = "dsunet-run"

EXAMPLES = examples(
    "dsunet-run predict nano.onnx photo.jpg -o photo_mask.png",
    "dsunet-run predict nano.onnx photos/ -o masks/ --overlay --batch 4",
    "dsunet-run predict nano.onnx photo.jpg -o cat.webp --cutout",
    "dsunet-run predict nano.onnx photos/ -o results/ --recursive --cutout --background white",
    "dsunet-run predict nano.onnx clip.mp4 -o masks.mp4 --smooth 2",
    "dsunet-run predict nano.onnx clip.mp4 -o cat.webm --cutout",
    "dsunet-run predict nano.onnx --camera 0 -o seen.mkv --overlay",
    "dsunet-run predict nano.onnx - -o - --binary < photo.jpg > mask.png",
    "dsunet-run predict nano.onnx photos/ -o masks/ --provider cuda",
    "dsunet-run predict nano.onnx photos/ -o masks/ --provider openvino",
    "dsunet-run predict nano.engine photos/ -o masks/ --workers gpus",
    "dsunet-run predict nano.onnx photos/ -o masks/ --ray head:6379",
)


def predict(
    artifact: ArtifactArgument,
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
        int | None,
        integer(
            low=1,
            high=MAX_DIMENSION,
            help="Number of images per inference call.  [default: the artifact's batch, or 1 if "
            "that is dynamic]",
            rich_help_panel="Inference",
        ),
    ] = None,
    provider: ProviderOption = None,
    allow_cpu_fallback: CpuFallbackOption = False,
    domain: DomainOption = None,
    selftest: SelfTestOption = SelfTestPolicy.AUTO,
    workers: WorkersOption = None,
    threads_per_worker: ThreadsPerWorkerOption = None,
    ray: RayOption = None,
) -> None:
    """Predict masks and cut-outs of images or a video.

    A mask is an 8-bit grey PNG of the size of the upright image.  Existing files are overwritten.
    If an image fails, the error is printed, the remaining images are processed, and the exit code
    is 1.
    """
    check_provider_applies(provider, artifact, allow_cpu_fallback, domain)
    parallelism = Parallelism(workers, threads_per_worker, ray)
    check_parallelism(parallelism, artifact, provider, output)
    plan = PredictArguments(
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

    from dsunet_runtime.prediction.jobs import Plan
    from dsunet_runtime.workers.worker import LoadOptions

    load_options = LoadOptions(artifact, provider, selftest, allow_cpu_fallback, domain)
    if not isinstance(plan, Plan):
        check_one_process(parallelism)
        _predict_video(load_options, plan, batch, as_json=as_json)
        return

    from dsunet_runtime.commands.run_jobs import report_outcomes
    from dsunet_runtime.workers.dispatch import dispatch

    with dispatch(load_options, plan, batch, parallelism) as (manifest, outcomes):
        _warn_of_random_weights(artifact, manifest)
        for line in plan.left_out:
            complain(_PROGRAM, line)
        if report_outcomes(_PROGRAM, plan, outcomes, as_json=as_json):
            raise typer.Exit(1)


def _predict_video(
    load_options: LoadOptions, video: VideoJob, batch: int | None, *, as_json: bool
) -> None:
    from dsunet_runtime.commands.run_video import run_video

    with load_options.load() as segmenter:
        _warn_of_random_weights(load_options.artifact, segmenter.manifest)
        batch = batch or segmenter.best_batch
        if not run_video(_PROGRAM, segmenter, video, batch, as_json=as_json):
            raise typer.Exit(1)


def _warn_of_random_weights(artifact: Path, manifest: Manifest) -> None:
    if manifest.weights_are_random:
        complain(
            _PROGRAM, f"{artifact} has randomly initialised weights: its masks are not meaningful"
        )
