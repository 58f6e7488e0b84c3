"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet_runtime.artifact.bounds import MAX_DIMENSION
from dsunet_runtime.commands.artifact_options import (
    Artifact,
    ChosenProvider,
    ChosenSelfTest,
    CpuFallback,
    Domain,
    check_provider_applies,
)
from dsunet_runtime.commands.bench import BENCH_EXAMPLES, bench
from dsunet_runtime.commands.command import complain, examples, make_app
from dsunet_runtime.commands.options import integer
from dsunet_runtime.commands.predict_options import (
    Background,
    Binary,
    Camera,
    Cutout,
    Images,
    Json,
    Overlay,
    Recursive,
    Results,
    SkipExisting,
    Smooth,
)
from dsunet_runtime.commands.predict_work import PredictArguments
from dsunet_runtime.commands.selftest import SELFTEST_EXAMPLES, selftest
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.scale.options import (
    Placement,
    Ray,
    ThreadsPerWorker,
    Workers,
    check_one_process,
    check_placement,
)
from dsunet_runtime.selftest.schedule import SelfTestPolicy

if TYPE_CHECKING:
    from dsunet_runtime.artifact.manifest import Manifest
    from dsunet_runtime.scale.worker import Loading
    from dsunet_runtime.video.job import VideoJob

PROGRAM = "dsunet-run"

app = make_app(PROGRAM, "Run exported DSU-Net artifacts and measure their speed.", RuntimeFault)


@app.command(
    epilog=examples(
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
)
def predict(
    artifact: Artifact,
    output: Results,
    images: Images = None,
    camera: Camera = None,
    binary: Binary = None,
    cutout: Cutout = None,
    background: Background = None,
    overlay: Overlay = False,
    smooth: Smooth = 0,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    as_json: Json = False,
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
    provider: ChosenProvider = None,
    allow_cpu_fallback: CpuFallback = False,
    domain: Domain = None,
    selftest: ChosenSelfTest = SelfTestPolicy.AUTO,
    workers: Workers = None,
    threads_per_worker: ThreadsPerWorker = None,
    ray: Ray = None,
) -> None:
    """Predict masks and cut-outs of images or a video.

    A mask is an 8-bit grey PNG of the size of the upright image.  Existing files are overwritten.
    If an image fails, the error is printed, the remaining images are processed, and the exit code
    is 1.
    """
    check_provider_applies(provider, artifact, allow_cpu_fallback, domain)
    placement = Placement(workers, threads_per_worker, ray)
    check_placement(placement, artifact, provider, output)
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
    ).work()

    from dsunet_runtime.prediction.jobs import Plan
    from dsunet_runtime.scale.worker import Loading

    loading = Loading(artifact, provider, selftest, allow_cpu_fallback, domain)
    if not isinstance(work, Plan):
        check_one_process(placement)
        _predict_video(loading, work, batch, as_json=as_json)
        return

    from dsunet_runtime.prediction.run import report
    from dsunet_runtime.scale.run import open_run

    with open_run(loading, work, batch, placement) as (manifest, outcomes):
        _warn_of_random_weights(artifact, manifest)
        for line in work.left_out:
            complain(PROGRAM, line)
        if report(PROGRAM, work, outcomes, as_json=as_json):
            raise typer.Exit(1)


def _predict_video(loading: Loading, video: VideoJob, batch: int | None, *, as_json: bool) -> None:
    from dsunet_runtime.video.run import run_video

    with loading.load() as segmenter:
        _warn_of_random_weights(loading.artifact, segmenter.manifest)
        batch = batch or segmenter.best_batch
        if not run_video(PROGRAM, segmenter, video, batch, as_json=as_json):
            raise typer.Exit(1)


def _warn_of_random_weights(artifact: Path, manifest: Manifest) -> None:
    if manifest.weights_are_random:
        complain(
            PROGRAM, f"{artifact} has randomly initialised weights: its masks are not meaningful"
        )


app.command(epilog=SELFTEST_EXAMPLES)(selftest)
app.command(epilog=BENCH_EXAMPLES)(bench)
