"""The command `dsunet-export tune`, which measures operating points of a checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import Dinov2File, Sam2File, WeightsKey
from dsunet.commands.help_panels import COMPUTATION, DATA
from dsunet.commands.named_folder import named_folder
from dsunet.errors import ConfigError, EvaluationError
from dsunet.network.config import MAX_IMAGE_SIZE
from dsunet_export.commands.options import notice
from dsunet_export.options import ExportPrecision
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import (
    MAX_COUNT,
    OUTPUT,
    as_wrong_usage,
    integer,
    number,
    output_folder,
)
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import readable
from dsunet_runtime.plain_values import encode
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet import DSUNet
    from dsunet.evaluation.test_sets import TestSet
    from dsunet_export.operating_points.points import Point

_POINTS, _CHOICE = "Points", "Choice"
"""Panels of options in the help."""
_DEFAULT_SECONDS = 10.0
EXAMPLES = examples(
    "dsunet-export tune model.pth --dataset CAMO=CAMO -o points",
    "dsunet-export tune model.pth --dataset CAMO=CAMO --dino-size 266 --images photos -o points",
    "dsunet-export tune model.pth --dataset CAMO=CAMO --limit 100 --budget 60 -o points",
)


def tune(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="Checkpoint file, or a run folder."),
    ],
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]DIR",
            help="Dataset to evaluate on, in its published folder layout.  Repeatable: the largest "
            "loss on any of them counts.",
            rich_help_panel=DATA,
        ),
    ],
    output: Annotated[
        Path,
        output_folder(
            "Folder for fastest.onnx, tune.json, tune.html, and points/ with the results of each "
            "point, from which the same command continues."
        ),
    ],
    hiera_size: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_IMAGE_SIZE,
            metavar="PIXELS",
            help="Side of Hiera's input, a multiple of 32.  Repeatable.  [default: the network's, "
            "and about 3/4 of it]",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    dino_size: Annotated[
        list[int] | None,
        integer(
            low=1,
            high=MAX_IMAGE_SIZE,
            metavar="PIXELS",
            help="Side of DINOv2's input, a multiple of 14.  Repeatable.  [default: the network's, "
            "and about 3/4, 1/2 and 3/8 of it]",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    precision: Annotated[
        list[ExportPrecision] | None,
        typer.Option(
            help="Precision of the artifact, as for `onnx`.  Repeatable.  [default: fp32, and int8 "
            "with --images]",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    provider: Annotated[
        list[Provider] | None,
        typer.Option(
            help="ONNX Runtime's execution provider, or OpenVINO.  Repeatable.  [default: all "
            "that start on this machine]",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Sample images to calibrate int8 and fp8 on.  Do not use images of --dataset.",
            rich_help_panel=DATA,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Evaluate on the first N images of each dataset.  [default: all]",
            rich_help_panel=DATA,
        ),
    ] = None,
    max_loss: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Largest accepted loss of S-measure.",
            rich_help_panel=_CHOICE,
        ),
    ] = 0.005,
    budget: Annotated[
        float | None,
        number(
            low=0,
            high=MAX_COUNT,
            metavar="MINUTES",
            help="Start no further point after this time; the same command continues.  [default: "
            "measure all points]",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    seconds: Annotated[
        float,
        number(
            low=0,
            high=86_400,
            help="Seconds to time each point and the reference, interleaved, without warm-up.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _DEFAULT_SECONDS,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object instead of the table.", rich_help_panel=OUTPUT
        ),
    ] = False,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
) -> None:
    """Find the fastest input sizes, precision and provider.

    Exports each combination, evaluates it on the datasets by S-measure and MAE, and times one image
    interleaved with the reference: the checkpoint's own sizes in fp32.  Prints the table, and
    writes the fastest artifact within --max-loss.

    Results are stored with a hash of everything that they depend on.  After an interruption the
    same command measures the missing points.
    """
    with as_wrong_usage(EvaluationError):
        folders = [named_folder("--dataset", text) for text in dataset]
    precisions = precision or [ExportPrecision.FP32, *([ExportPrecision.INT8] if images else [])]
    if images is None and any(one.is_quantized for one in precisions):
        raise typer.BadParameter("--precision int8 and fp8 need --images DIR to calibrate on")
    with needs_extra("evaluate,export"):
        from dsunet import checkpoint_sha256, load_model
        from dsunet.checkpoints.open_checkpoint import open_checkpoint
        from dsunet.checkpoints.run_checkpoint import find_checkpoint
        from dsunet.evaluation.evaluate import check_test_sets
        from dsunet.evaluation.scorer import Scorer
        from dsunet_export.operating_points.inputs import describe_inputs, starting_providers
        from dsunet_export.operating_points.measurement import (
            Instruments,
            evaluate_artifact,
            export_point,
            time_against,
        )
        from dsunet_export.operating_points.points import list_points
        from dsunet_export.operating_points.results import ResultFiles
        from dsunet_export.operating_points.tune import tune_points
        from dsunet_export.operating_points.tune_report import (
            format_tuning,
            tuning_document,
            write_tuning,
        )
        from dsunet_export.options import WeightsOrigin
        from dsunet_runtime.bench.measurement import Schedule
        from dsunet_runtime.prediction.jobs import results_folder

    test_sets = _test_sets(folders, limit)
    file = find_checkpoint(checkpoint, notice)
    config = open_checkpoint(file, weights=weights, notice=notice).model.config
    with as_wrong_usage(ConfigError):
        points = list_points(
            config,
            hiera_size or [],
            dino_size or [],
            precisions,
            provider or starting_providers(),
        )
    check_test_sets(test_sets, sys.stderr)
    origin = WeightsOrigin(readable(file.name), checkpoint_sha256(file))

    def load(point: Point) -> DSUNet:
        return load_model(
            file,
            sam2=sam2,
            dinov2=dinov2,
            weights=weights,
            hiera_size=point.hiera_size,
            dino_size=point.dino_size,
        )

    def report(number: int, point: Point, line: str) -> None:
        print(f"{number}/{len(points)} {point.label}: {readable(line)}", file=sys.stderr)

    about = describe_inputs(origin, weights, test_sets, images, seconds)
    with results_folder(output), Scorer() as scorer:
        instruments = Instruments(
            export=lambda point, path: export_point(point, path, load, origin, images),
            evaluate=lambda path, on: evaluate_artifact(path, on, test_sets, scorer, sys.stderr),
            time=lambda runner, reference: time_against(
                runner, reference, test_sets[0].pairs[0].image, Schedule(seconds=seconds)
            ),
        )
        tuning = tune_points(
            points,
            instruments,
            ResultFiles(output / "points", {**about, "reference": encode(points[0])}),
            output,
            max_loss=max_loss,
            seconds=None if budget is None else 60 * budget,
            report=report,
        )
        print(
            json.dumps(tuning_document(tuning, about), indent=2)
            if as_json
            else format_tuning(tuning)
        )
        artifact = output / "fastest.onnx"
        export_point(tuning.fastest.point, artifact, load, origin, images)
        write_tuning(tuning, about, output)  # it names the artifact, which must be there
        size = tuning.fastest.size / 1e6
        print(f"{readable(artifact)} {size:,.1f} MB", file=sys.stderr)


def _test_sets(folders: list[tuple[str, Path]], limit: int | None) -> list[TestSet]:
    from dsunet.evaluation.test_sets import TestSet, check_dataset_names

    found = [TestSet.of_dataset(name, folder) for name, folder in folders]
    with as_wrong_usage(EvaluationError):
        check_dataset_names(found)
    return [test_set.first(limit) for test_set in found]
